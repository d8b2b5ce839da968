//! A user at a browser: Keycloak's pages as HTTP, with cookies and forms.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::admin::{CALLBACK, PASSWORD, WEB};
use crate::http::{Answer, Http};
use crate::{Error, Result};

/// How many pages a login may lead through before it is a loop.
const MOST_PAGES: usize = 10;

/// One browser with its cookies.
#[derive(Debug)]
pub struct Browser {
    http: Http,
    realm: String,
    /// By the path from which on they are sent, and their name: realms of one Keycloak give theirs the same names.
    cookies: BTreeMap<(String, String), String>,
}

/// What the application gets of a login.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
    /// The ID token, which a logout names.
    pub id: String,
}

/// Where a form led.
#[derive(Debug)]
pub enum Step {
    /// Another page of Keycloak's.
    Page(Answer),
    /// Back to the application, with a code.
    Code(String),
}

impl Browser {
    /// A browser without cookies that visits the realm of the Keycloak at `address`.
    pub fn new(address: &str, realm: &str) -> Self {
        Self { http: Http::new(), realm: format!("{address}/realms/{realm}"), cookies: BTreeMap::new() }
    }

    /// Logs a user in through the login page and redeems the code.
    ///
    /// # Errors
    /// Where the login fails.
    pub fn log_in(&mut self, username: &str) -> Result<Tokens> {
        let page = self.visit("auth")?;
        let step = self.submit(&page, &[("username", username), ("password", PASSWORD)])?;
        let code = self.arrive(step)?;
        self.redeem(&code)
    }

    /// Tries a wrong password. The page must ask again.
    ///
    /// # Errors
    /// Where Keycloak answers with something else than the login page.
    pub fn fail_to_log_in(&mut self, username: &str) -> Result<()> {
        let page = self.visit("auth")?;
        match self.submit(&page, &[("username", username), ("password", "wrong")])? {
            Step::Page(page) => form_action(&page).map(drop),
            Step::Code(_) => Err(page.unexpected()),
        }
    }

    /// Logs in a user whom Keycloak tells to choose a new password first.
    ///
    /// # Errors
    /// Where Keycloak does not ask for one, or the login fails.
    pub fn log_in_and_change_password(&mut self, username: &str) -> Result<Tokens> {
        let page = self.visit("auth")?;
        let step = self.submit(&page, &[("username", username), ("password", PASSWORD)])?;
        let Step::Page(page) = step else { return Err(page.unexpected()) };
        let step =
            self.submit(&page, &[("password-new", "another horse"), ("password-confirm", "another horse")])?;
        let code = self.arrive(step)?;
        self.redeem(&code)
    }

    /// Registers a new user through the registration page.
    ///
    /// # Errors
    /// Where Keycloak refuses.
    pub fn register(&mut self, username: &str) -> Result<Tokens> {
        let page = self.visit("registrations")?;
        let email = format!("{username}@example.org");
        let step = self.submit(
            &page,
            &[
                ("username", username),
                ("email", &email),
                ("firstName", "Test"),
                ("lastName", "User"),
                ("password", PASSWORD),
                ("password-confirm", PASSWORD),
            ],
        )?;
        let code = self.arrive(step)?;
        self.redeem(&code)
    }

    /// Exchanges the refresh token for new tokens.
    ///
    /// # Errors
    /// Where Keycloak refuses.
    pub fn refresh(&self, tokens: &Tokens) -> Result<Tokens> {
        self.tokens(&[
            ("grant_type", "refresh_token"),
            ("client_id", WEB),
            ("refresh_token", &tokens.refresh),
        ])
    }

    /// Ends the user's session.
    ///
    /// # Errors
    /// Where Keycloak refuses.
    pub fn log_out(&self, tokens: &Tokens) -> Result<()> {
        let address = format!("{}/protocol/openid-connect/logout", self.realm);
        let form = [("client_id", WEB), ("refresh_token", tokens.refresh.as_str())];
        self.http.post_form(&address, &form)?.success().map(drop)
    }

    fn visit(&mut self, endpoint: &str) -> Result<Answer> {
        self.visit_for(endpoint, WEB, "")
    }

    /// Opens a page of the flow in which a client asks for a login, with more parameters such as `&kc_action=…`.
    ///
    /// # Errors
    /// Where Keycloak answers with something else than a page.
    pub fn visit_for(&mut self, endpoint: &str, client: &str, more: &str) -> Result<Answer> {
        self.open(&self.address_for(endpoint, client, more))?.success()
    }

    /// The address of that page.
    pub fn address_for(&self, endpoint: &str, client: &str, more: &str) -> String {
        format!(
            "{}/protocol/openid-connect/{endpoint}?client_id={client}&redirect_uri={CALLBACK}&response_type=code&scope=openid{more}",
            self.realm
        )
    }

    /// Opens an address with this browser's cookies, without following a redirect.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn open(&mut self, address: &str) -> Result<Answer> {
        let answer = self.http.get_with_cookies(address, &self.cookie_header(address))?;
        self.keep_cookies(&answer);
        Ok(answer)
    }

    /// Opens an address and follows Keycloak's redirects.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn follow(&mut self, address: &str) -> Result<Step> {
        let answer = self.open(address)?;
        self.arrived(answer)
    }

    /// Fills in the form of a page and follows Keycloak's redirects.
    ///
    /// # Errors
    /// Where the page has no form, or leads in a circle.
    pub fn submit(&mut self, page: &Answer, form: &[(&str, &str)]) -> Result<Step> {
        let action = self.absolute(form_action(page)?);
        let answer = self.http.post_form_with_cookies(&action, &self.cookie_header(&action), form)?;
        self.arrived(answer)
    }

    /// Some forms of Keycloak's name no host.
    fn absolute(&self, action: String) -> String {
        match self.realm.split_once("/realms/") {
            Some((host, _)) if action.starts_with('/') => format!("{host}{action}"),
            _ => action,
        }
    }

    fn arrived(&mut self, mut answer: Answer) -> Result<Step> {
        for _ in 0..MOST_PAGES {
            self.keep_cookies(&answer);
            match answer.location.clone() {
                None => return Ok(Step::Page(answer)),
                Some(location) if location.starts_with(CALLBACK) => {
                    return code(&location)
                        .map_or_else(|| Err(answer.unexpected()), |code| Ok(Step::Code(code)));
                }
                Some(location) => answer = self.open(&location)?,
            }
        }
        Err(answer.unexpected())
    }

    /// Redeems the code to which a step led.
    ///
    /// # Errors
    /// Where it led to a page, or Keycloak refuses.
    pub fn arrive_and_redeem(&self, step: Step) -> Result<Tokens> {
        self.redeem(&self.arrive(step)?)
    }

    fn arrive(&self, step: Step) -> Result<String> {
        match step {
            Step::Code(code) => Ok(code),
            Step::Page(page) => Err(page.unexpected()),
        }
    }

    fn redeem(&self, code: &str) -> Result<Tokens> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", WEB),
            ("redirect_uri", CALLBACK),
            ("code", code),
        ];
        self.tokens(&form)
    }

    fn tokens(&self, form: &[(&str, &str)]) -> Result<Tokens> {
        let address = format!("{}/protocol/openid-connect/token", self.realm);
        let answer = self.http.post_form(&address, form)?.success()?;
        let body = answer.json()?;
        let token = |name: &str| text(&body, name);
        match (token("access_token"), token("refresh_token"), token("id_token")) {
            (Some(access), Some(refresh), Some(id)) => Ok(Tokens { access, refresh, id }),
            _ => Err(answer.unexpected()),
        }
    }

    fn cookie_header(&self, address: &str) -> String {
        let path = path(address);
        let sent = self.cookies.iter().filter(|((from, _), _)| path.starts_with(from.as_str()));
        sent.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for cookie in &answer.cookies {
            let pair = cookie.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                let path = cookie.split(';').find_map(|part| part.trim().strip_prefix("Path="));
                let key = (path.unwrap_or("/").to_owned(), name.to_owned());
                if value.is_empty() || cookie.contains("Max-Age=0") {
                    self.cookies.remove(&key);
                } else {
                    self.cookies.insert(key, value.to_owned());
                }
            }
        }
    }
}

/// The path of an address.
fn path(address: &str) -> &str {
    let begin = address.find("://").map_or(0, |scheme| scheme + 3);
    address[begin..].find('/').map_or("/", |path| &address[begin + path..])
}

fn text(body: &Value, name: &str) -> Option<String> {
    body[name].as_str().map(str::to_owned)
}

/// Where Keycloak's form on a page leads; its forms have ids that begin with `kc-`, or lead to its own pages.
fn form_action(page: &Answer) -> Result<String> {
    let forms = || page.body.split("<form").skip(1);
    let form = forms()
        .find(|form| form.contains("id=\"kc-"))
        .or_else(|| forms().find(|form| form.contains("/login-actions/") || form.contains("/device")));
    let action = form.and_then(|form| form.split("action=\"").nth(1)).and_then(|rest| rest.split('"').next());
    action.map(|action| action.replace("&amp;", "&")).ok_or_else(|| Error::Page {
        what: "form",
        address: page.request.clone(),
        page: page.body.clone(),
    })
}

fn code(location: &str) -> Option<String> {
    let query = location.split('?').nth(1)?;
    query.split('&').find_map(|pair| pair.strip_prefix("code=")).map(str::to_owned)
}
