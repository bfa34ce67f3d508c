//! Whether anything answers at an endpoint's address, and what time it has.

use std::time::Duration;

use aiops_core::jiff::Timestamp;
use reqwest::Url;
use reqwest::header::{DATE, HeaderMap};

use super::endpoint::ModelEndpoint;
use super::exchange::{broken, within};
use crate::ChatError;

/// A question without a body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Any status: most servers have nothing at their base.
    pub(crate) status: u16,
    /// The server's time, to the second, where it tells it.
    pub(crate) date: Option<Timestamp>,
}

impl ModelEndpoint {
    /// Asks for the address itself, without key, password or query.
    pub(crate) async fn reach(&self, provider: &str) -> Result<Reached, ChatError> {
        let asked = self.client().map_err(|error| broken(provider, error))?.get(bare(self.url("")));
        let attempt = async { asked.send().await.map_err(|error| broken(provider, error)) };
        let answer = within(TIMEOUT, provider, attempt).await?;
        Ok(Reached { status: answer.status().as_u16(), date: date(answer.headers()) })
    }

    /// The names of the headers that hold its credentials; `url` for a password in the address.
    pub(crate) fn credentials(&self) -> Vec<&str> {
        let password = self.url("").password().is_some().then_some("url");
        self.headers.keys().map(reqwest::header::HeaderName::as_str).chain(password).collect()
    }

    /// Whether it is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let url = self.url("");
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        self.url("").origin().ascii_serialization()
    }
}

/// The address without what may be secret in it. An `http` address takes all of these.
fn bare(mut url: Url) -> Url {
    url.set_query(None);
    let _ = (url.set_username(""), url.set_password(None));
    url
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Timestamp::try_from(date).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_asked_for() {
        let url = Url::parse("https://user:pa55@h:8443/v1/chat?key=k").unwrap();
        assert_eq!(bare(url).as_str(), "https://h:8443/v1/chat");
    }

    #[test]
    fn credentials_are_named_and_this_machine_is_known() {
        let endpoint = ModelEndpoint::exact("https://u:p@127.0.0.1/x?k=1").unwrap().header("x-api-key", "s").unwrap();
        assert_eq!(
            (endpoint.credentials(), endpoint.origin().as_str()),
            (vec!["x-api-key", "url"], "https://127.0.0.1")
        );
        for (url, local) in [("http://localhost:1", true), ("http://[::1]", true), ("http://10.0.0.1", false)] {
            assert_eq!(ModelEndpoint::new(url).unwrap().is_local(), local, "{url}");
        }
    }
}
