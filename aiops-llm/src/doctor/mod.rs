//! Whether the model works that a service is about to rely on: asked when it starts, and once a day.
//!
//! Each answer is a [`Check`] with what to do about it; `aiops_core::doctor` has those of the other parts.

#[cfg(feature = "client-no-provider")]
mod endpoint;

use aiops_core::{doctor::Check, error_chain};

#[cfg(feature = "client-no-provider")]
#[cfg_attr(docsrs, doc(cfg(feature = "client-no-provider")))]
pub use self::endpoint::{endpoint, lifecycle};
use crate::{ChatError, ChatErrorKind, ChatModel, Enforced, enforces_schema};

/// Why a question got no answer, with what to do about such an error.
fn failed(about: &str, error: &ChatError) -> Check {
    Check::fail(about, &why(error), error.kind.advice())
}

fn why(error: &ChatError) -> String {
    let status = error.status.map_or_else(String::new, |status| format!(", HTTP {status}"));
    let reason = if error.reason.is_empty() { String::new() } else { format!(" ({})", error.reason) };
    let source = error.source.as_deref().map_or_else(String::new, |source| format!(": {}", error_chain(source)));
    format!("{}{status}{reason}{source}", error.kind.as_str().replace('_', " "))
}

/// Whether the model answers, and whether its server holds it to a schema: one call of
/// [`enforces_schema`], so some 100 tokens.
pub async fn schema(model: &dyn ChatModel) -> Check {
    const ABOUT: &str = "schema";
    match enforces_schema(model).await {
        Ok(Enforced::Yes) => Check::ok(ABOUT, "the model answers, and the server holds it to the schema"),
        Ok(Enforced::No) => Check::warn(
            ABOUT,
            "the model answers, and the server does not hold it to the schema",
            "every reply is checked all the same, more will fail: take another route of the server, or another model",
        ),
        Ok(Enforced::NotKnown) => Check::warn(
            ABOUT,
            "the model answered without text, so that nothing is known of the schema",
            "let it think less, or ask another model",
        ),
        Err(error) if error.kind == ChatErrorKind::Refused => Check::fail(
            ABOUT,
            &why(&error),
            "the server takes no schema or not this setting: try its JSON mode, or another mode",
        ),
        Err(error) => failed(ABOUT, &error),
    }
}
