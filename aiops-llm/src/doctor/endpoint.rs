//! The address, the key, the clock, and the days of a model.

use aiops_core::doctor::Check;
use aiops_core::{Clock, jiff::SignedDuration};

use super::failed;
use crate::adapters::{Anthropic, ModelEndpoint, NOTICE_DAYS};
use crate::{ChatErrorKind, ChatModel};

/// A server tells its time to the second, and an answer takes a while.
const CLOCK_DIFFERS: SignedDuration = SignedDuration::from_secs(10);
/// What is observed further ahead is not acted on (`CorrelatorConfig::max_ahead`).
const CLOCK_IS_WRONG: SignedDuration = SignedDuration::from_secs(300);

/// Whether something answers at the endpoint of `model`, whether a key is set, and how far this machine's clock is from
/// the server's: three checks. The key itself is not tried here: [`schema`](super::schema) does.
pub async fn endpoint(model: &dyn ChatModel, endpoint: &ModelEndpoint, clock: &dyn Clock) -> Vec<Check> {
    const ABOUT: &str = "endpoint";
    let key = key(endpoint);
    let reached = match endpoint.reach(model.provider()).await {
        Ok(reached) => reached,
        Err(error) => {
            let unknown =
                Check::warn("clock", "not checked, since the server does not answer", "mend the endpoint first");
            return vec![failed(ABOUT, &error), key, unknown];
        }
    };
    let (origin, status) = (endpoint.origin(), reached.status);
    let answers = format!("{origin} answers (HTTP {status})");
    let address = match status {
        300..=399 => Check::warn(ABOUT, &answers, "a redirect is not followed: name the address that it leads to"),
        500.. => Check::warn(ABOUT, &answers, "the server or a gateway before it is not well: look there"),
        _ => Check::ok(ABOUT, &answers),
    };
    let skew = reached.date.map(|date| clock.now().duration_since(date));
    vec![address, key, skewed(skew)]
}

fn key(endpoint: &ModelEndpoint) -> Check {
    const ABOUT: &str = "key";
    let headers = endpoint.credentials();
    if !headers.is_empty() {
        return Check::ok(ABOUT, &format!("set ({})", headers.join(", ")));
    }
    if endpoint.is_local() {
        return Check::ok(ABOUT, "none, for a server on this machine");
    }
    Check::warn(ABOUT, "none is set", "set one, unless the server asks for none")
}

fn skewed(skew: Option<SignedDuration>) -> Check {
    const ABOUT: &str = "clock";
    let Some(skew) = skew else {
        return Check::warn(
            ABOUT,
            "the server tells no time to compare with",
            "look whether this machine keeps its time (NTP)",
        );
    };
    let way = if skew.is_negative() { "behind" } else { "ahead of" };
    let says = format!("{} s {way} the server's", skew.abs().as_secs());
    let advice = "set this machine's time (NTP): events of a wrong time are not acted on";
    match skew.abs() {
        far if far > CLOCK_IS_WRONG => Check::fail(ABOUT, &says, advice),
        some if some > CLOCK_DIFFERS => Check::warn(ABOUT, &says, advice),
        _ => Check::ok(ABOUT, "as the server's"),
    }
}

/// How long the provider says that the model has left.
pub async fn lifecycle(model: &Anthropic, clock: &dyn Clock) -> Check {
    const ABOUT: &str = "lifecycle";
    const NAME_ANOTHER: &str = "name a newer model, evaluate it, and let its confidences be measured anew";
    let now = clock.now();
    let lifecycle = match model.lifecycle(now).await {
        Ok(lifecycle) => lifecycle,
        // Gateways, clouds and compatible servers have no such list; whether the model answers is asked elsewhere.
        Err(error) if matches!(error.kind, ChatErrorKind::UnknownModel | ChatErrorKind::Refused) => {
            return Check::warn(ABOUT, "the server does not list the model", "check its id: it may be retired");
        }
        Err(error) => return failed(ABOUT, &error),
    };
    let state = lifecycle.state.as_deref().unwrap_or("of no known state");
    let days = lifecycle.days_left(now);
    let left = days.map_or_else(String::new, |days| format!(", {days:.0} days left"));
    let says = format!("the model is {state}{left}");
    if state == "retired" || days.is_some_and(|days| days <= 0.0) {
        Check::fail(ABOUT, &says, NAME_ANOTHER)
    } else if lifecycle.structured_outputs == Some(false) {
        Check::warn(ABOUT, &format!("{says}; the provider holds it to no schema"), NAME_ANOTHER)
    } else if state == "deprecated" || days.is_some_and(|days| days <= NOTICE_DAYS) {
        Check::warn(ABOUT, &says, NAME_ANOTHER)
    } else {
        Check::ok(ABOUT, &says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_server_without_a_key_is_a_warning() {
        let endpoint = ModelEndpoint::new("https://gateway.test").unwrap();
        let told = key(&endpoint).to_string();
        assert_eq!(told, "warn  key: none is set; set one, unless the server asks for none");
        assert_eq!(key(&endpoint.bearer("s3cret").unwrap()).to_string(), "ok    key: set (authorization)");
    }
}
