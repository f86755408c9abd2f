//! A headless Chromium, driven through chromedriver (W3C WebDriver, with the DevTools commands that
//! chromedriver adds).

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A browser with one window. Ends when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    /// Where it keeps what it keeps.
    _profile: tempfile::TempDir,
}

/// No answer takes so long: a limit, not a measure.
const LIMIT: Duration = Duration::from_secs(120);

impl Browser {
    /// Starts it; the error is why it cannot be.
    pub(crate) fn start() -> Result<Self, String> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("chromedriver: {error}"))?;
        let port = port(&mut driver);
        let profile = tempfile::tempdir().map_err(|error| error.to_string())?;
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            // The driver is on this machine, whatever the environment says of proxies.
            .proxy(None)
            .build();
        let mut browser = Self { driver, agent: config.into(), session: String::new(), _profile: profile };
        let base = format!("http://127.0.0.1:{}", port.ok_or("chromedriver says no port")?);
        let session = browser.post(&format!("{base}/session"), &browser.capabilities())?;
        let id = session["sessionId"].as_str().ok_or("chromedriver gives no session")?;
        browser.session = format!("{base}/session/{id}");
        Ok(browser)
    }

    fn capabilities(&self) -> Value {
        let profile = format!("--user-data-dir={}", self._profile.path().display());
        json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", profile,
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--disable-extensions", "--hide-scrollbars",
                // Nothing but file:// resolves to anything.
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            ] },
        } } })
    }

    fn post(&self, url: &str, body: &Value) -> Result<Value, String> {
        let response = self.agent.post(url).send_json(body).map_err(|error| format!("{url}: {error}"))?;
        let mut answer: Value =
            response.into_body().read_json().map_err(|error| format!("{url}: {error}"))?;
        let value = answer["value"].take();
        match value.get("error") {
            Some(error) if error.is_string() => Err(format!("{error}: {}", value["message"])),
            _ => Ok(value),
        }
    }

    #[track_caller]
    fn command(&self, name: &str, body: &Value) -> Value {
        let url = format!("{}/{name}", self.session);
        self.post(&url, body).unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Opens a file, in a window of that size in CSS pixels, with that colour scheme preferred, on a `screen` or
    /// for `print`, and waits until it is there.
    #[track_caller]
    pub(crate) fn open(&self, page: &Path, (width, height): (u32, u32), scheme: &str, medium: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "media": medium, "features": features }));
        self.command("url", &json!({ "url": format!("file://{}", page.display()) }));
    }

    /// Runs the body of a function in the page and gives what it returns.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The same for a function that calls its last argument with the result.
    #[track_caller]
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.command("execute/async", &json!({ "script": script, "args": [] }))
    }

    /// What the console said since it was last asked.
    #[track_caller]
    pub(crate) fn console(&self) -> Value {
        self.command("se/log", &json!({ "type": "browser" }))
    }

    /// The whole page as PNG, in base64.
    #[track_caller]
    pub(crate) fn picture(&self) -> String {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.devtools("Page.captureScreenshot", &whole);
        taken["data"].as_str().unwrap_or_default().to_owned()
    }
}

/// The port that the driver has chosen, from what it says when it is ready. It goes on saying things: the pipe is
/// read to its end in a thread, so that it never blocks.
fn port(driver: &mut Child) -> Option<u16> {
    let mut lines = BufReader::new(driver.stdout.take()?).lines();
    let port = lines.find_map(|line| {
        let line = line.ok()?;
        let (_, rest) = line.split_once("started successfully on port ")?;
        rest.trim_end_matches('.').parse().ok()
    });
    std::thread::spawn(move || lines.for_each(drop));
    port
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with the session, and has to be there for that.
        if !self.session.is_empty() {
            let _ = self.agent.delete(&self.session).call();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
