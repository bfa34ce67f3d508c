//! Where a model is served, what a request to it carries, and over which HTTP client.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use aiops_core::text;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url, redirect};
use serde_json::{Map, Value};

/// A provider that takes longer to connect to is down: page first, ask another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A report has some kilobytes; what a model thinks aloud beside it may be longer.
const DEFAULT_MAX_BODY: usize = 4 * 1024 * 1024;
/// Longer ids and words of a provider are cut.
const MAX_WORD: usize = 100;
/// Shorter secrets are not looked for in texts: they would mask ordinary words.
const MIN_MASKED: usize = 4;

/// An endpoint that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("model endpoint, {part}: {fault}")]
pub struct InvalidEndpoint {
    part: String,
    fault: String,
}

impl InvalidEndpoint {
    pub(super) fn header(part: &str) -> Self {
        Self::new(part, "cannot stand in a header")
    }

    fn new(part: impl Into<String>, fault: impl Into<String>) -> Self {
        Self { part: part.into(), fault: fault.into() }
    }
}

/// The address of a model, its credentials and its HTTP client. `Debug` shows no header's value, no query and no
/// password.
///
/// The default client gives up connecting after 3 s and follows no redirect, which would carry the key to
/// another host. Without the feature `client` it speaks no TLS.
///
/// ```
/// use aiops_llm::adapters::{ModelEndpoint, OpenAiChat};
///
/// let azure = ModelEndpoint::new("https://shop.openai.azure.com/openai/v1")?
///     .header("api-key", "s3cret")?
///     .provider("azure.ai.openai");
/// assert!(!format!("{azure:?}").contains("s3cret"));
/// let model = OpenAiChat::new(azure, "our-deployment");
/// # Ok::<(), aiops_llm::adapters::InvalidEndpoint>(())
/// ```
#[derive(Clone)]
pub struct ModelEndpoint {
    /// The host's, or ours, which is built when it is first used.
    client: OnceLock<Client>,
    url: Url,
    /// Whether `url` is the whole address and no path is appended.
    exact: bool,
    pub(super) headers: HeaderMap,
    /// What must not appear in an error's text.
    secrets: Vec<String>,
    pub(super) extra: Map<String, Value>,
    provider: Option<String>,
    pub(super) max_body: usize,
}

impl fmt::Debug for ModelEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.keys().map(HeaderName::as_str).collect();
        let extra: Vec<&str> = self.extra.keys().map(String::as_str).collect();
        f.debug_struct("ModelEndpoint")
            .field("host", &self.url.host_str())
            .field("port", &self.url.port_or_known_default())
            .field("path", &self.url.path())
            .field("headers", &headers)
            .field("extra", &extra)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}

impl ModelEndpoint {
    /// The server below `base`; an adapter appends the path of its format (`/v1/messages`,
    /// `/chat/completions` …).
    ///
    /// # Errors
    /// A URL that does not read, is neither `http` nor `https`, or has a query or fragment.
    pub fn new(base: &str) -> Result<Self, InvalidEndpoint> {
        let url = parsed(base)?;
        if url.query().is_some() {
            return Err(InvalidEndpoint::new("url", "a base has no query: ModelEndpoint::exact takes a whole address"));
        }
        Ok(Self::at(url, false))
    }

    /// The server at exactly this address, for paths that hold a deployment or a model
    /// (`…/models/M:rawPredict`, `…/chat/completions?api-version=…`). A key does not belong into it: proxies
    /// and servers log addresses.
    ///
    /// # Errors
    /// A URL that does not read, is neither `http` nor `https`, or has a fragment.
    pub fn exact(url: &str) -> Result<Self, InvalidEndpoint> {
        Ok(Self::at(parsed(url)?, true))
    }

    fn at(url: Url, exact: bool) -> Self {
        let secrets = url.password().map(str::to_owned).into_iter().collect();
        let (headers, extra) = (HeaderMap::new(), Map::new());
        let client = OnceLock::new();
        Self { client, url, exact, headers, secrets, extra, provider: None, max_body: DEFAULT_MAX_BODY }
    }

    /// A host's own client, with its proxies, roots and connections. It should follow no redirects.
    #[must_use]
    pub fn with_client(mut self, client: Client) -> Self {
        self.client = OnceLock::from(client);
        self
    }

    /// Sends `Authorization: Bearer …`.
    ///
    /// # Errors
    /// A token that cannot stand in a header.
    pub fn bearer(mut self, token: &str) -> Result<Self, InvalidEndpoint> {
        self.secrets.push(token.to_owned());
        self.set(AUTHORIZATION, "bearer", &format!("Bearer {token}"))
    }

    /// Sends a header (`x-api-key`, `api-key`, a gateway's own); its value is taken for a secret.
    ///
    /// # Errors
    /// A name or value that cannot stand in a header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InvalidEndpoint> {
        let header: HeaderName =
            name.parse().map_err(|_| InvalidEndpoint::new("header", "the name cannot stand in a header"))?;
        self.secrets.push(value.to_owned());
        self.set(header, name, value)
    }

    fn set(mut self, name: HeaderName, part: &str, value: &str) -> Result<Self, InvalidEndpoint> {
        let mut value = HeaderValue::from_str(value).map_err(|_| InvalidEndpoint::header(part))?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Keys that every request's body carries besides the adapter's own, or in place of them, the whole value: a
    /// provider's parameters of the day.
    #[must_use]
    pub fn extra(mut self, keys: Map<String, Value>) -> Self {
        self.extra = keys;
        self
    }

    /// Whose it is, in place of the adapter's word: `azure.ai.openai`, `aws.bedrock`, `gcp.vertex_ai` …, as
    /// `gen_ai.provider.name` has it.
    #[must_use]
    pub fn provider(mut self, name: impl Into<String>) -> Self {
        self.provider = Some(name.into());
        self
    }

    /// Bytes of an answer at the most; 4 MiB unless set.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    pub(super) fn client(&self) -> Result<&Client, reqwest::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("aiops/", env!("CARGO_PKG_VERSION")));
        // Nobody needs certificates for plain HTTP, and in a container there may be none to load.
        #[cfg(feature = "client")]
        let client = if self.url.scheme() == "http" { client.tls_certs_only([]) } else { client };
        let client = client.build()?;
        Ok(self.client.get_or_init(|| client))
    }

    pub(super) fn provider_or<'a>(&'a self, name: &'a str) -> &'a str {
        self.provider.as_deref().unwrap_or(name)
    }

    /// The address of `path`.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        if !self.exact {
            url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        }
        url
    }

    /// The address of a path below the base, each part encoded; none where there is no base.
    pub(super) fn below(&self, path: &[&str]) -> Option<Url> {
        let mut url = self.url.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(path);
        (!self.exact).then_some(url)
    }

    /// A word of the server's, cut to what words are long; none where it holds one of the endpoint's secrets, as
    /// it came or as it shows: a server may echo what it was sent.
    pub(super) fn word(&self, text: &str) -> Option<String> {
        let shown = text::printable(text);
        let echoed = |secret: &String| {
            secret.len() >= MIN_MASKED && (text.contains(secret.as_str()) || shown.contains(secret.as_str()))
        };
        (!self.secrets.iter().any(echoed)).then(|| text::clip(&shown, MAX_WORD))
    }

    /// The server that a provider's own clients would ask: its address stands in the variable `base.0`, else it
    /// is `base.1`; the key stands in the variable `key`, and `with_key` makes a header of it.
    pub(super) fn from_vars(
        variables: impl Fn(&str) -> Option<String>,
        base: (&str, &str),
        key: &str,
        with_key: impl FnOnce(Self, &str) -> Result<Self, InvalidEndpoint>,
    ) -> Result<Self, InvalidEndpoint> {
        let set = |name: &str| variables(name).filter(|value| !value.trim().is_empty());
        let secret = set(key).ok_or_else(|| InvalidEndpoint::new(key, "not set: it holds the provider's key"))?;
        let endpoint = Self::new(&set(base.0).unwrap_or_else(|| base.1.to_owned()))?;
        with_key(endpoint, secret.trim())
    }
}

fn parsed(text: &str) -> Result<Url, InvalidEndpoint> {
    let url = Url::parse(text).map_err(|error| InvalidEndpoint::new("url", error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(InvalidEndpoint::new("url", "neither http nor https"));
    }
    if url.fragment().is_some() {
        return Err(InvalidEndpoint::new("url", "has a fragment"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended_to_a_base_and_not_to_an_exact_address() {
        for base in ["http://gate/anthropic", "http://gate/anthropic/"] {
            let endpoint = ModelEndpoint::new(base).unwrap();
            assert_eq!(endpoint.url("/v1/messages").as_str(), "http://gate/anthropic/v1/messages");
        }
        let exact = "https://h/deployments/d/chat/completions?api-version=1";
        assert_eq!(ModelEndpoint::exact(exact).unwrap().url("/chat/completions").as_str(), exact);
        assert_eq!(
            ModelEndpoint::new(exact).unwrap_err().to_string(),
            "model endpoint, url: a base has no query: ModelEndpoint::exact takes a whole address"
        );
        for wrong in ["", "h", "ftp://h", "http://h/#x", "http://"] {
            assert!(ModelEndpoint::new(wrong).is_err() && ModelEndpoint::exact(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_that_is_secret_shows() {
        let endpoint = ModelEndpoint::exact("https://user:pa55word@h/p?key=qu3ry").unwrap();
        let endpoint = endpoint.bearer("t0ken").unwrap().header("x-api-key", "k3y1").unwrap();
        let shown = format!("{endpoint:?}");
        for secret in ["pa55word", "qu3ry", "t0ken", "k3y1"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("authorization") && shown.contains("x-api-key"), "{shown}");
        let error = endpoint.bearer("s3cret\n").unwrap_err();
        assert_eq!(error.to_string(), "model endpoint, bearer: cannot stand in a header");
    }

    #[test]
    fn the_environment_names_key_and_address() {
        let base = ("SHOP_URL", "https://shop.test");
        let from = |vars: &[(&str, &str)]| {
            let find = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            ModelEndpoint::from_vars(find, base, "SHOP_KEY", |endpoint, key| endpoint.bearer(key))
        };
        let error = from(&[("SHOP_URL", "http://x"), ("SHOP_KEY", " ")]).unwrap_err();
        assert_eq!(error.to_string(), "model endpoint, SHOP_KEY: not set: it holds the provider's key");
        let endpoint = from(&[("SHOP_KEY", "k3y1\n")]).unwrap();
        assert_eq!(endpoint.url("/v1").as_str(), "https://shop.test/v1");
        assert_eq!((endpoint.word("key k3\u{1b}y1!"), endpoint.word("bad key")), (None, Some("bad key".to_owned())));
        assert_eq!(from(&[("SHOP_URL", "http://x"), ("SHOP_KEY", "k")]).unwrap().url("/v1").as_str(), "http://x/v1");
    }
}
