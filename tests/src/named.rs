//! Acts in a real Keycloak that concern somebody and something with a name, and the names that must stand beside the ids in what is told of them (`journal-enrich = all`).

use serde_json::{Value, json};

use crate::admin::{Admin, WEB};
use crate::browser::Browser;
use crate::consumer::Record;
use crate::http::{Http, Method};
use crate::keycloak::ADMINISTRATOR;
use crate::{Error, Result};

const USERNAME: &str = "dora";

/// What was acted on.
#[derive(Debug)]
pub struct Named {
    user: String,
    captain: Value,
    cooks: String,
    acme: String,
}

impl Named {
    /// Has an administrator and a user act in a realm, in which organizations are enabled then. The administrator deletes the user at last.
    ///
    /// # Errors
    /// Where Keycloak refuses something.
    pub fn act(keycloak: &str, admin: &Admin, realm: &str) -> Result<Self> {
        let path = |path: &str| format!("/{realm}{path}");
        let post = |place: &str, body: &Value| admin.send(Method::Post, &path(place), Some(body))?.success();
        let user = admin.create_user(realm, USERNAME)?;
        // With organizations the login asks for the user first and for the password then.
        let tokens = Browser::new(keycloak, realm).log_in(USERNAME)?;
        admin.put(&path(""), &json!({"organizationsEnabled": true}))?;
        let acme = json!({"name": "Acme Ltd", "alias": "acme", "domains": [{"name": "acme.example.org"}]});
        let acme = admin.create(&path("/organizations"), &acme)?;
        post(&format!("/organizations/{acme}/members"), &json!(user))?;
        post("/roles", &json!({"name": "captain"}))?;
        let captain = admin.get(&path("/roles/captain"))?;
        post(&format!("/users/{user}/role-mappings/realm"), &json!([captain]))?;
        let crew = admin.create(&path("/groups"), &json!({"name": "crew"}))?;
        let cooks = admin.create(&path(&format!("/groups/{crew}/children")), &json!({"name": "cooks"}))?;
        admin.put(&path(&format!("/users/{user}/groups/{cooks}")), &json!({}))?;
        post(&format!("/users/{user}/impersonation"), &json!({}))?;
        let userinfo = format!("{keycloak}/realms/{realm}/protocol/openid-connect/userinfo");
        Http::new().send(Method::Get, &userinfo, &tokens.access, None)?.success()?;
        admin.delete(&path(&format!("/users/{user}")), None)?;
        Ok(Self { user, captain, cooks, acme })
    }

    /// Whether a record tells of the last act.
    pub fn is_last(&self, record: &Record) -> bool {
        record.field("operationType") == "DELETE"
            && record.field("resourcePath") == format!("users/{}", self.user)
    }

    /// Whether a record tells of the last that the user did.
    pub fn is_last_of_user(&self, record: &Record) -> bool {
        record.field("type") == "USER_INFO_REQUEST" && record.field("userId") == self.user
    }

    /// What stands under our key in the event of this type that concerns the user.
    fn told<'a>(&self, records: &'a [Record], kind: &str) -> Option<&'a Value> {
        let concerns = |record: &&Record| {
            record.field("userId") == self.user
                || record.field("resourcePath").contains(&self.user)
                || record.field("resourcePath").contains(&self.acme)
        };
        let is_it =
            |record: &&Record| record.header("ce_type") == format!("org.keycloak.{kind}") && concerns(record);
        records.iter().find(is_it).map(|record| &record.json["keyferry"])
    }

    /// Every name that `records` tell otherwise than they must, a line each.
    ///
    /// # Errors
    /// Where the record of an act is missing.
    pub fn differences(&self, records: &[Record]) -> Result<Vec<String>> {
        let organizations = json!([{"id": self.acme, "alias": "acme", "name": "Acme Ltd"}]);
        let expected = [
            ("admin.REALM_ROLE_MAPPING.CREATE", "/user", json!({"username": USERNAME})),
            ("admin.REALM_ROLE_MAPPING.CREATE", "/administrator", json!({"username": ADMINISTRATOR.0})),
            ("admin.REALM_ROLE_MAPPING.CREATE", "/client/clientId", json!("admin-cli")),
            (
                "admin.REALM_ROLE_MAPPING.CREATE",
                "/roles",
                json!([{"id": self.captain["id"], "name": "captain"}]),
            ),
            (
                "admin.GROUP_MEMBERSHIP.CREATE",
                "/groups",
                json!([{"id": self.cooks, "name": "cooks", "path": "/crew/cooks"}]),
            ),
            ("admin.ORGANIZATION_MEMBERSHIP.CREATE", "/organizations", organizations.clone()),
            ("event.LOGIN", "/user", json!({"username": USERNAME})),
            ("event.LOGIN", "/client/clientId", json!(WEB)),
            ("event.USER_INFO_REQUEST", "/organizations", organizations),
            ("event.IMPERSONATE", "/impersonator/username", json!(ADMINISTRATOR.0)),
        ];
        let mut differences = Vec::new();
        for (kind, place, expected) in &expected {
            let told =
                self.told(records, kind).ok_or_else(|| Error::Missing(format!("a record of {kind}")))?;
            if told.pointer(place) != Some(expected) {
                differences.push(format!("{kind}: {place} is not {expected}: {told}"));
            }
        }
        // Of who is gone there is the name that Keycloak itself tells, which 26.4 does not.
        let deletion = records.iter().find(|record| self.is_last(record));
        let is_told = deletion.is_some_and(|record| record.field("representation").contains(USERNAME));
        let expected = is_told.then(|| json!({"username": USERNAME}));
        let told = deletion.and_then(|record| record.json["keyferry"].get("user").cloned());
        if told != expected {
            differences.push(format!("who is gone is called {told:?}, not {expected:?}"));
        }
        let impersonator = self.told(records, "event.IMPERSONATE").map(|told| &told["impersonator"]["id"]);
        if !impersonator.is_some_and(Value::is_string) {
            differences.push(format!("the impersonator has no id: {impersonator:?}"));
        }
        Ok(differences)
    }
}
