//! Users of a real Keycloak log in to the page of the agent that it runs, in a real Chromium: who has a role there has it here.

use std::path::Path;

use keyferry_tests::admin::{Admin, PASSWORD};
use keyferry_tests::keycloak::Keycloak;
use keyferry_tests::port;
use serde_json::json;

use crate::page::{LINGER, Page};

const CLIENT: &str = "keyferry";
const SECRET: &str = "the secret of the client";
/// Has the page's own script send a change that the user may not make, and tells the status of the answer.
const CHANGE: &str = "const done = arguments[arguments.length - 1];
    fetch('/api/v1/config', { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: '{}' }).then(({ status }) => done(status));";

/// The page of the agent of one Keycloak, at which users of one realm log in.
pub struct LoginPage {
    address: String,
}

impl LoginPage {
    /// Has the agent that `keycloak` is going to start serve it.
    pub fn of(keycloak: &mut Keycloak, realm: &str) -> Self {
        let port = port::free().unwrap();
        let issuer = format!("{}/realms/{realm}", keycloak.address());
        keycloak
            .listener_option("api-listen", format!("127.0.0.1:{port}"))
            .listener_option("api-oidc-issuer", issuer)
            .listener_option("api-oidc-client-secret", SECRET);
        Self { address: format!("http://localhost:{port}") }
    }

    /// A viewer looks and changes nothing, and an administrator changes the linger.
    pub fn is_used(&self, admin: &Admin, realm: &str, directory: &Path) {
        self.prepare(admin, realm);
        let page = Page::open(directory, &format!("{}/", self.address));
        let shows = |who: &str| page.chromium.wait_for("#session", |text| text.starts_with(who)).unwrap();

        log_in(&page, "vera");
        shows("user \"vera\" (viewer)");
        page.headline("Everything is being delivered");
        page.look("viewer");
        page.chromium.write("//input[@id='filter']", LINGER).unwrap();
        page.chromium.wait_for("#configuration", |text| text.contains(LINGER)).unwrap();
        let button = format!(
            "return getComputedStyle(document.querySelector(`[aria-label='Edit {LINGER}']`)).display"
        );
        assert_eq!(page.chromium.run(&button).unwrap(), "none", "what a viewer may not do is not shown");
        assert_eq!(page.chromium.run_until_done(CHANGE).unwrap(), 403);
        assert_eq!(page.chromium.run("return document.cookie").unwrap(), "", "no script reads the cookie");

        page.press("Log out");
        // That Keycloak asks for a password again shows that she is logged out there as well.
        log_in(&page, "carol");
        shows("user \"carol\" (admin)");
        page.change_linger();
        page.press("Apply");
        page.chromium
            .wait_for("#configuration p", |state| state.starts_with("Version 2 runs, by user \"carol\""))
            .unwrap();

        page.press("Log out");
        log_in(&page, "alice");
        page.chromium.wait_for("body", |text| text.contains("has none of the roles")).unwrap();
    }

    /// A client, and users with and without roles.
    fn prepare(&self, admin: &Admin, realm: &str) {
        let client = json!({
            "clientId": CLIENT, "secret": SECRET, "publicClient": false, "standardFlowEnabled": true,
            "redirectUris": [format!("{}/oidc/callback", self.address)],
            "attributes": { "pkce.code.challenge.method": "S256" },
        });
        admin.create(&format!("/{realm}/clients"), &client).unwrap();
        for (user, role) in [("vera", "keyferry-viewer"), ("carol", "keyferry-admin")] {
            let id = admin.create_user(realm, user).unwrap();
            admin.post(&format!("/{realm}/roles"), &json!({ "name": role })).unwrap();
            let role = admin.get(&format!("/{realm}/roles/{role}")).unwrap();
            admin.post(&format!("/{realm}/users/{id}/role-mappings/realm"), &json!([role])).unwrap();
        }
    }
}

fn log_in(page: &Page, user: &str) {
    let of = &page.chromium;
    of.click("//dialog//a[normalize-space()='Log in with Keycloak']").unwrap();
    of.write("//input[@id='username']", user).unwrap();
    of.write("//input[@id='password']", PASSWORD).unwrap();
    of.click("//*[@id='kc-login']").unwrap();
}
