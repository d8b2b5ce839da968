//! A real Chromium, steered by its own driver (W3C WebDriver): what a person sees and does, by pointer and keyboard.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::http::Http;
use crate::process::Server;
use crate::{Error, Result, port, wait};

/// Debian's, which `.ci/run` installs.
const DRIVER: &str = "chromedriver";
const LIMIT: Duration = Duration::from_secs(120);
/// By what WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page open.
#[derive(Debug)]
pub struct Chromium {
    http: Http,
    session: String,
    log: PathBuf,
    _driver: Server,
}

/// What is shown how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// A monitor.
    Desktop,
    /// A phone, upright.
    Phone,
}

impl Screen {
    /// How wide it is, in CSS pixels.
    pub fn width(self) -> u64 {
        match self {
            Self::Desktop => 1440,
            Self::Phone => 390,
        }
    }

    fn metrics(self) -> Value {
        let width = self.width();
        match self {
            Self::Desktop => {
                json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false })
            }
            Self::Phone => json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": true }),
        }
    }
}

impl Chromium {
    /// Starts it; its profile and the driver's log lie in `directory`.
    ///
    /// # Errors
    /// Where it is not installed or does not start.
    pub fn start(directory: &Path) -> Result<Self> {
        let (port, log) = (port::free()?, directory.join("chromedriver.log"));
        let mut command = Command::new(DRIVER);
        command.arg(format!("--port={port}")).env("HOME", directory);
        let driver = Server::start("chromedriver", &mut command, &log)?;
        let (http, address) = (Http::new(), format!("http://127.0.0.1:{port}"));
        wait::until("chromedriver", LIMIT, || http.get(&format!("{address}/status")).ok())?;
        let profile = format!("--user-data-dir={}", directory.join("chromium").display());
        // As root there is no sandbox; what is shown is our own page.
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &profile];
        // Nobody it knows vouches for a test's certificate.
        let capabilities = json!({
            "browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": { "args": arguments },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let begun = http.post_json(&format!("{address}/session"), &wanted)?.success()?.json()?;
        let id = begun["value"]["sessionId"].as_str().unwrap_or_default();
        Ok(Self { http, session: format!("{address}/session/{id}"), log, _driver: driver })
    }

    /// Opens a page.
    ///
    /// # Errors
    /// Where it cannot be loaded.
    pub fn open(&self, address: &str) -> Result<()> {
        self.order("url", &json!({ "url": address })).map(drop)
    }

    /// Shows it like this.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub fn show_on(&self, screen: Screen, theme: &str) -> Result<()> {
        self.devtools("Emulation.setDeviceMetricsOverride", &screen.metrics())?;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.devtools("Emulation.setEmulatedMedia", &features).map(drop)
    }

    /// Runs a script in the page, and returns what it returns.
    ///
    /// # Errors
    /// Where it fails.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.order("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The same of a script that calls its last argument when it is done.
    ///
    /// # Errors
    /// Where it fails.
    pub fn run_until_done(&self, script: &str) -> Result<Value> {
        self.order("execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Clicks on what the XPath leads to, as soon as it is there and nothing lies above it.
    ///
    /// # Errors
    /// [`Error::TooLate`].
    pub fn click(&self, xpath: &str) -> Result<()> {
        let what = format!("a click on {xpath}");
        self.hinted(wait::until(&what, LIMIT, || {
            let element = self.find(xpath).ok()?;
            self.order(&format!("element/{element}/click"), &json!({})).ok()
        }))
        .map(drop)
    }

    /// Types into what the XPath leads to, in place of what it had.
    ///
    /// # Errors
    /// [`Error::TooLate`].
    pub fn write(&self, xpath: &str, text: &str) -> Result<()> {
        let what = format!("typing into {xpath}");
        self.hinted(wait::until(&what, LIMIT, || {
            let element = self.find(xpath).ok()?;
            self.order(&format!("element/{element}/clear"), &json!({})).ok()?;
            self.order(&format!("element/{element}/value"), &json!({ "text": text })).ok()
        }))
        .map(drop)
    }

    /// Waits until the text of an element, by its CSS selector, is what is wanted, and returns it.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the text that was there.
    pub fn wait_for(&self, selector: &str, is_wanted: impl Fn(&str) -> bool) -> Result<String> {
        let read = || {
            let script = format!("return document.querySelector({selector:?})?.innerText ?? ''");
            Some(self.run(&script).ok()?.as_str()?.to_owned())
        };
        let found =
            wait::until(&format!("the text in {selector}"), LIMIT, || read().filter(|text| is_wanted(text)));
        found.map_err(|error| Error::Missing(format!("{error}; it is {:?}", read())))
    }

    /// Keeps a picture of the whole page.
    ///
    /// # Errors
    /// Where it cannot be taken or written.
    pub fn photograph(&self, path: &Path) -> Result<()> {
        let size = "scrollTo({ top: 0, behavior: 'instant' }); return { x: 0, y: 0, scale: 1, width: innerWidth, height: document.documentElement.scrollHeight }";
        let whole = json!({ "format": "png", "captureBeyondViewport": true, "clip": self.run(size)? });
        let picture = self.devtools("Page.captureScreenshot", &whole)?;
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().unwrap_or_default()).unwrap_or_default();
        fs::write(path, bytes).map_err(Error::io("write", path))
    }

    /// What the XPath leads to, in the middle of the screen: as a person scrolls it out from under what stays at the edge.
    fn find(&self, xpath: &str) -> Result<String> {
        let element = self.order("element", &json!({ "using": "xpath", "value": xpath }))?;
        let script = "arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })";
        self.order("execute/sync", &json!({ "script": script, "args": [element] }))?;
        Ok(element[ELEMENT].as_str().unwrap_or_default().to_owned())
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.order("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn order(&self, what: &str, body: &Value) -> Result<Value> {
        let mut answer = self.http.post_json(&format!("{}/{what}", self.session), body)?.success()?.json()?;
        Ok(answer["value"].take())
    }

    fn hinted<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.with_log(&self.log))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The browser is no child of the driver's group for long; asked to, it ends by itself.
        drop(self.http.delete(&self.session));
    }
}
