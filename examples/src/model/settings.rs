//! Which model is asked: from the environment, or from arguments, which win.

use std::str::FromStr;
use std::time::Duration;

use aiops_llm::adapters::{Anthropic, InvalidEndpoint, ModelEndpoint, Ollama, OpenAiChat, OpenAiResponses};

use super::Adapter;

/// The options, for a program's help.
pub const OPTIONS: &str = "\
The model that is asked, by options or by the environment (options win):
  --provider P          AIOPS_MODEL_PROVIDER      anthropic, openai, openai-responses or ollama: the wire format
  --model ID            AIOPS_MODEL_ID            the model's id
  --url URL             AIOPS_MODEL_URL           base of another server: a gateway, llama.cpp, vLLM (…/v1 for openai)
  --key-header NAME     AIOPS_MODEL_KEY_HEADER    header of its key, where it is another one (api-key, say)
  --effort E            AIOPS_MODEL_EFFORT        how much it thinks first (low); the provider's default if not given
  --timeout SECONDS     AIOPS_MODEL_TIMEOUT       for one report (default 60)
  --max-evidence BYTES  AIOPS_MODEL_MAX_EVIDENCE  of evidence in a prompt (default 16384)
  --max-output TOKENS   AIOPS_MODEL_MAX_OUTPUT    of a reply, thoughts included (default 4096)
  --bounded             AIOPS_MODEL_BOUNDED=1     lengths in the schema, for a small local model
The key stands in the environment only: ANTHROPIC_API_KEY or OPENAI_API_KEY for the provider's own address,
AIOPS_MODEL_KEY for a URL that you name; a local server needs none.";

/// A slow machine with a small model needs half of it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Where Ollama listens unless told otherwise.
const OLLAMA: &str = "http://127.0.0.1:11434";
const PROVIDERS: &str = "anthropic, openai, openai-responses or ollama";

/// What arguments say of the model.
#[derive(Debug, Clone, Default)]
pub struct ModelArguments(Vec<(&'static str, String)>);

/// An option and its variable.
const NAMES: [(&str, &str); 9] = [
    ("--provider", "AIOPS_MODEL_PROVIDER"),
    ("--model", "AIOPS_MODEL_ID"),
    ("--url", "AIOPS_MODEL_URL"),
    ("--key-header", "AIOPS_MODEL_KEY_HEADER"),
    ("--effort", "AIOPS_MODEL_EFFORT"),
    ("--timeout", "AIOPS_MODEL_TIMEOUT"),
    ("--max-evidence", "AIOPS_MODEL_MAX_EVIDENCE"),
    ("--max-output", "AIOPS_MODEL_MAX_OUTPUT"),
    ("--bounded", "AIOPS_MODEL_BOUNDED"),
];

impl ModelArguments {
    /// Takes an option with its value if it is one of the model's; whether it was.
    ///
    /// # Errors
    /// The option lacks its value.
    pub fn takes(&mut self, option: &str, mut value: impl FnMut() -> Option<String>) -> Result<bool, String> {
        let Some((name, _)) = NAMES.iter().find(|(name, _)| *name == option) else { return Ok(false) };
        let value = if *name == "--bounded" { Some("1".to_owned()) } else { value() };
        let value = value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} lacks its value"))?;
        self.0.push((name, value));
        Ok(true)
    }

    /// What an option or its variable says.
    fn said(&self, option: &str, variables: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let given = self.0.iter().rev().find(|(name, _)| *name == option).map(|(_, value)| value.clone());
        let variable = || NAMES.iter().find(|(name, _)| *name == option).and_then(|(_, variable)| variables(variable));
        given.or_else(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The model. `variables` is the environment; the key of a provider's own address is read from the process'
    /// environment by the adapter.
    ///
    /// # Errors
    /// What is missing or cannot be, and what to set, for a person.
    pub fn settings(self, variables: impl Fn(&str) -> Option<String>) -> Result<ModelSettings, String> {
        let said = |option| self.said(option, &variables);
        let (provider, model) = (said("--provider"), said("--model"));
        let missing: Vec<String> = [("--provider", &provider), ("--model", &model)]
            .into_iter()
            .filter(|(_, value)| value.is_none())
            .map(|(option, _)| named(option))
            .collect();
        let (Some(provider), Some(model)) = (provider, model) else {
            return Err(format!("no model is named: set {}\n\n{OPTIONS}", missing.join(" and ")));
        };
        let at = Address {
            url: said("--url"),
            key: variables("AIOPS_MODEL_KEY").map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()),
            header: said("--key-header"),
        };
        let adapter = adapter(&provider, model, &at, said("--effort"))?;
        let seconds = number("--timeout", said("--timeout"))?;
        Ok(ModelSettings {
            adapter,
            timeout: seconds.map_or(TIMEOUT, Duration::from_secs),
            max_evidence: number("--max-evidence", said("--max-evidence"))?,
            max_output: number("--max-output", said("--max-output"))?,
            bounded: said("--bounded").is_some_and(|value| value != "0"),
        })
    }
}

/// A model with its limits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelSettings {
    /// The adapter of its endpoint.
    pub adapter: Adapter,
    /// For one report, all attempts together.
    pub timeout: Duration,
    /// Bytes of evidence in a prompt; the library's default if none.
    pub max_evidence: Option<usize>,
    /// Tokens of a reply; the library's default if none.
    pub max_output: Option<u32>,
    /// Whether the schema bounds lengths.
    pub bounded: bool,
}

/// Where it is served, and what opens it. It has no `Debug`: it holds the key.
struct Address {
    url: Option<String>,
    key: Option<String>,
    header: Option<String>,
}

impl Address {
    /// The server at the URL that the user named, with the key that belongs to it.
    fn endpoint(&self, url: &str, header: Option<&str>) -> Result<ModelEndpoint, InvalidEndpoint> {
        let endpoint = ModelEndpoint::new(url)?;
        let Some(key) = &self.key else { return Ok(endpoint) };
        match self.header.as_deref().or(header) {
            Some(header) => endpoint.header(header, key),
            None => endpoint.bearer(key),
        }
    }

    /// The adapter at that URL, or the provider's own.
    fn reach<T>(
        &self,
        header: Option<&str>,
        own: impl FnOnce() -> Result<T, InvalidEndpoint>,
        there: impl FnOnce(ModelEndpoint) -> T,
    ) -> Result<T, String> {
        match &self.url {
            Some(url) => self.endpoint(url, header).map(there),
            None => own(),
        }
        .map_err(|error| error.to_string())
    }
}

fn adapter(provider: &str, model: String, at: &Address, effort: Option<String>) -> Result<Adapter, String> {
    Ok(match provider {
        "anthropic" => {
            let own = || Anthropic::from_env(&*model);
            let adapter = at.reach(Some("x-api-key"), own, |there| Anthropic::new(there, &*model))?;
            Adapter::Anthropic(effort.into_iter().fold(adapter, |adapter, effort| adapter.effort(effort)))
        }
        "openai" => {
            let adapter = at.reach(None, || OpenAiChat::from_env(&*model), |there| OpenAiChat::new(there, &*model))?;
            Adapter::OpenAi(effort.into_iter().fold(adapter, |adapter, effort| adapter.effort(effort)))
        }
        "openai-responses" => {
            let own = || OpenAiResponses::from_env(&*model);
            let adapter = at.reach(None, own, |there| OpenAiResponses::new(there, &*model))?;
            Adapter::OpenAiResponses(effort.into_iter().fold(adapter, |adapter, effort| adapter.effort(effort)))
        }
        "ollama" => {
            let own = || at.endpoint(OLLAMA, None).map(|there| Ollama::new(there, &*model));
            let adapter = at.reach(None, own, |there| Ollama::new(there, &*model))?;
            if effort.is_some() {
                return Err(format!("{} means nothing to ollama: take it away", named("--effort")));
            }
            Adapter::Ollama(adapter)
        }
        other => return Err(format!("{} is {other:?}, not {PROVIDERS}", named("--provider"))),
    })
}

/// An option with its variable, as messages name it.
fn named(option: &str) -> String {
    let variable = NAMES.iter().find(|(name, _)| *name == option).map_or("", |(_, variable)| variable);
    format!("{variable} (or {option})")
}

fn number<T: FromStr + Default + PartialEq>(option: &str, value: Option<String>) -> Result<Option<T>, String> {
    let Some(value) = value else { return Ok(None) };
    match value.parse() {
        Ok(number) if number != T::default() => Ok(Some(number)),
        _ => Err(format!("{} wants a whole number above 0, not {value:?}", named(option))),
    }
}

#[cfg(test)]
mod tests {
    use aiops_llm::ChatModel;

    use super::*;

    fn settings(line: &str, variables: &[(&str, &str)]) -> Result<ModelSettings, String> {
        let mut words = line.split_whitespace();
        let mut arguments = ModelArguments::default();
        while let Some(word) = words.next() {
            assert!(arguments.takes(word, || words.next().map(str::to_owned))?, "{word}");
        }
        arguments.settings(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn options_win_over_the_environment_and_each_provider_has_its_adapter() {
        let url = ("AIOPS_MODEL_URL", "http://127.0.0.1:1/v1");
        let variables = [("AIOPS_MODEL_PROVIDER", "openai"), ("AIOPS_MODEL_ID", "m"), url];
        let found = settings("", &variables).unwrap();
        assert!(
            matches!(&found.adapter, Adapter::OpenAi(model) if model.model() == "m" && model.provider() == "openai")
        );
        assert_eq!((found.timeout, found.max_evidence, found.bounded), (TIMEOUT, None, false));
        let line = "--provider anthropic --model n --timeout 5 --max-evidence 900 --bounded --effort low";
        let found = settings(line, &variables).unwrap();
        assert!(matches!(&found.adapter, Adapter::Anthropic(model) if model.model() == "n"));
        assert_eq!((found.timeout.as_secs(), found.max_evidence, found.bounded), (5, Some(900), true));
        let found = settings("--provider openai-responses", &variables).unwrap();
        assert!(matches!(found.adapter, Adapter::OpenAiResponses(_)));
        let found = settings("--provider ollama --model m", &[("AIOPS_MODEL_BOUNDED", "0")]).unwrap();
        assert!(matches!(found.adapter, Adapter::Ollama(_)) && !found.bounded, "at its usual address");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_what_to_set() {
        let error = settings("", &[("AIOPS_MODEL_ID", " ")]).unwrap_err();
        let wanted = "no model is named: set AIOPS_MODEL_PROVIDER (or --provider) and AIOPS_MODEL_ID (or --model)";
        assert!(error.starts_with(wanted) && error.contains("AIOPS_MODEL_KEY for a URL"), "{error}");
        let model = [("AIOPS_MODEL_ID", "m"), ("AIOPS_MODEL_PROVIDER", "openai"), ("AIOPS_MODEL_URL", "http://h/v1")];
        for (line, wanted) in [
            ("--provider claude", "AIOPS_MODEL_PROVIDER (or --provider) is \"claude\", not anthropic, openai"),
            ("--timeout soon", "AIOPS_MODEL_TIMEOUT (or --timeout) wants a whole number above 0, not \"soon\""),
            ("--timeout", "--timeout lacks its value"),
            ("--url ftp://h", "model endpoint, url: neither http nor https"),
            ("--provider ollama --effort low", "AIOPS_MODEL_EFFORT (or --effort) means nothing to ollama"),
        ] {
            let error = settings(line, &model).unwrap_err();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }

    #[test]
    fn the_key_of_a_named_server_shows_nowhere() {
        let variables =
            [("AIOPS_MODEL_KEY", "s3cret-k3y"), ("AIOPS_MODEL_ID", "m"), ("AIOPS_MODEL_URL", "http://h/v1")];
        for provider in ["anthropic", "openai", "ollama", "openai --key-header api-key"] {
            let found = settings(&format!("--provider {provider}"), &variables).unwrap();
            let shown = format!("{found:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
            let header = match provider {
                "anthropic" => "x-api-key",
                "openai --key-header api-key" => "api-key",
                _ => "authorization",
            };
            assert!(shown.contains(&format!("{header:?}")), "{shown}");
        }
    }
}
