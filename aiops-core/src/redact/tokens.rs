//! Keys and tokens that their issuers mark by a prefix.

use std::sync::LazyLock;

use super::bytes::{
    ALNUM, BASE64, BASE64_SIGN, CAPITAL, DASH, DIGIT, DOT, HEX, HEX_LETTER, LETTER, PERCENT, TILDE, UNDERSCORE, UPPER,
    URL64, ends_word, entropy, is, run, run_back, short_run, starts_word,
};
use super::kind::Kind;
use super::scan::Hit;

/// A prefix, the bytes of the body, and how many there are at least and at most.
struct Shape {
    prefix: &'static str,
    kind: Kind,
    body: u16,
    least: usize,
    most: usize,
}

const ANY: usize = usize::MAX;

const fn shape(prefix: &'static str, kind: Kind, body: u16, least: usize, most: usize) -> Shape {
    Shape { prefix, kind, body, least, most }
}

/// One body for several prefixes would save lines and cost the reader: a row is a rule.
#[rustfmt::skip]
const SHAPES: &[Shape] = &[
    shape("AKIA", Kind::AwsAccessKey, CAPITAL, 16, 16),
    shape("ASIA", Kind::AwsAccessKey, CAPITAL, 16, 16),
    shape("ABIA", Kind::AwsAccessKey, CAPITAL, 16, 16),
    shape("ACCA", Kind::AwsAccessKey, CAPITAL, 16, 16),
    shape("AIza", Kind::GcpApiKey, URL64, 35, ANY),
    shape("GOCSPX-", Kind::GcpOauth, URL64, 20, ANY),
    shape("ya29.", Kind::GcpOauth, URL64 | DOT, 20, ANY),
    shape("ghp_", Kind::GithubToken, ALNUM | UNDERSCORE, 36, ANY),
    shape("gho_", Kind::GithubToken, ALNUM | UNDERSCORE, 36, ANY),
    shape("ghu_", Kind::GithubToken, ALNUM | UNDERSCORE, 36, ANY),
    shape("ghs_", Kind::GithubToken, URL64 | DOT, 36, ANY),
    shape("ghr_", Kind::GithubToken, ALNUM | UNDERSCORE, 36, ANY),
    shape("github_pat_", Kind::GithubToken, ALNUM | UNDERSCORE, 36, ANY),
    shape("glpat-", Kind::GitlabToken, URL64 | DOT, 20, ANY),
    shape("gldt-", Kind::GitlabToken, URL64 | DOT, 20, ANY),
    shape("glrt-", Kind::GitlabToken, URL64 | DOT, 20, ANY),
    shape("glcbt-", Kind::GitlabToken, URL64 | DOT, 20, ANY),
    shape("glptt-", Kind::GitlabToken, URL64 | DOT, 20, ANY),
    shape("glft-", Kind::GitlabToken, URL64 | DOT, 20, ANY),
    shape("glsoat-", Kind::GitlabToken, URL64 | DOT, 20, ANY),
    shape("glimt-", Kind::GitlabToken, URL64 | DOT, 20, ANY),
    shape("glagent-", Kind::GitlabToken, URL64 | DOT, 20, ANY),
    shape("GR1348941", Kind::GitlabToken, URL64, 20, ANY),
    shape("xoxa-", Kind::SlackToken, URL64 | PERCENT, 15, ANY),
    shape("xoxb-", Kind::SlackToken, URL64 | PERCENT, 15, ANY),
    shape("xoxc-", Kind::SlackToken, URL64 | PERCENT, 15, ANY),
    shape("xoxd-", Kind::SlackToken, URL64 | PERCENT | BASE64_SIGN, 15, ANY),
    shape("xoxe-", Kind::SlackToken, URL64 | PERCENT, 15, ANY),
    shape("xoxe.", Kind::SlackToken, URL64 | PERCENT, 15, ANY),
    shape("xoxo-", Kind::SlackToken, URL64 | PERCENT, 15, ANY),
    shape("xoxp-", Kind::SlackToken, URL64 | PERCENT, 15, ANY),
    shape("xoxr-", Kind::SlackToken, URL64 | PERCENT, 15, ANY),
    shape("xoxs-", Kind::SlackToken, URL64 | PERCENT, 15, ANY),
    shape("xapp-", Kind::SlackToken, URL64, 15, ANY),
    shape("hooks.slack.com/services/", Kind::SlackWebhook, URL64 | BASE64_SIGN, 16, ANY),
    shape("hooks.slack.com/workflows/", Kind::SlackWebhook, URL64 | BASE64_SIGN, 16, ANY),
    shape("hooks.slack.com/triggers/", Kind::SlackWebhook, URL64 | BASE64_SIGN, 16, ANY),
    shape("sk_live_", Kind::StripeKey, ALNUM, 10, ANY),
    shape("sk_test_", Kind::StripeKey, ALNUM, 10, ANY),
    shape("sk_prod_", Kind::StripeKey, ALNUM, 10, ANY),
    shape("rk_live_", Kind::StripeKey, ALNUM, 10, ANY),
    shape("rk_test_", Kind::StripeKey, ALNUM, 10, ANY),
    shape("rk_prod_", Kind::StripeKey, ALNUM, 10, ANY),
    shape("whsec_", Kind::StripeKey, BASE64, 24, ANY),
    shape("sk-ant-", Kind::AnthropicKey, URL64, 16, ANY),
    shape("sk-proj-", Kind::OpenaiKey, URL64, 16, ANY),
    shape("sk-svcacct-", Kind::OpenaiKey, URL64, 16, ANY),
    shape("sk-admin-", Kind::OpenaiKey, URL64, 16, ANY),
    shape("sk-or-", Kind::OpenaiKey, URL64, 16, ANY),
    shape("sk-", Kind::OpenaiKey, ALNUM, 32, ANY),
    shape("gsk_", Kind::LlmKey, ALNUM, 40, ANY),
    shape("xai-", Kind::LlmKey, ALNUM, 40, ANY),
    shape("pplx-", Kind::LlmKey, ALNUM, 40, ANY),
    shape("r8_", Kind::LlmKey, ALNUM, 36, 40),
    shape("npm_", Kind::NpmToken, ALNUM, 36, ANY),
    shape("pypi-AgE", Kind::PypiToken, URL64, 40, ANY),
    shape("dckr_pat_", Kind::RegistryToken, URL64, 20, ANY),
    shape("dckr_oat_", Kind::RegistryToken, URL64, 20, ANY),
    shape("rubygems_", Kind::RegistryToken, HEX, 48, ANY),
    shape("AKCp", Kind::RegistryToken, ALNUM, 60, ANY),
    shape("AGE-SECRET-KEY-1", Kind::AgeKey, CAPITAL, 50, ANY),
    shape("SK", Kind::TwilioKey, HEX, 32, 32),
    shape("SG.", Kind::SendgridKey, URL64 | DOT, 60, ANY),
    shape("key-", Kind::MailgunKey, HEX, 32, 32),
    shape("HRKU-", Kind::HerokuKey, URL64, 36, ANY),
    shape("dop_v1_", Kind::DigitaloceanToken, HEX, 64, ANY),
    shape("doo_v1_", Kind::DigitaloceanToken, HEX, 64, ANY),
    shape("dor_v1_", Kind::DigitaloceanToken, HEX, 64, ANY),
    shape("hf_", Kind::HuggingfaceToken, ALNUM, 30, ANY),
    shape("api_org_", Kind::HuggingfaceToken, ALNUM, 30, ANY),
    shape("hvs.", Kind::VaultToken, URL64, 24, ANY),
    shape("hvb.", Kind::VaultToken, URL64, 24, ANY),
    shape("hvr.", Kind::VaultToken, URL64, 24, ANY),
    shape("dapi", Kind::DatabricksToken, HEX, 32, 32),
    shape("glsa_", Kind::GrafanaToken, ALNUM | UNDERSCORE, 32, ANY),
    shape("glc_", Kind::GrafanaToken, BASE64, 32, ANY),
    shape("eyJrIjoi", Kind::GrafanaToken, BASE64, 60, ANY),
    shape("NRAK-", Kind::NewrelicKey, CAPITAL, 27, ANY),
    shape("NRII-", Kind::NewrelicKey, URL64, 27, ANY),
    shape("dt0c01.", Kind::DynatraceToken, CAPITAL | DOT, 80, ANY),
    shape("dt0s01.", Kind::DynatraceToken, CAPITAL | DOT, 60, ANY),
    shape("dt0s16.", Kind::DynatraceToken, CAPITAL | DOT, 60, ANY),
    shape("sntrys_", Kind::SentryToken, BASE64 | UNDERSCORE, 40, ANY),
    shape("sntryu_", Kind::SentryToken, HEX, 40, ANY),
    shape("pul-", Kind::PulumiToken, HEX, 40, 40),
    shape("ATATT3", Kind::AtlassianToken, URL64 | BASE64_SIGN, 40, ANY),
    shape("ATCTT3", Kind::AtlassianToken, URL64 | BASE64_SIGN, 40, ANY),
    shape("ATBB", Kind::AtlassianToken, ALNUM, 28, 32),
    shape("lin_api_", Kind::ServiceToken, ALNUM, 32, ANY),
    shape("PMAK-", Kind::ServiceToken, HEX | DASH, 50, ANY),
    shape("sbp_", Kind::ServiceToken, HEX, 40, ANY),
    shape("pscale_tkn_", Kind::ServiceToken, URL64 | DOT, 32, ANY),
    shape("pscale_pw_", Kind::ServiceToken, URL64 | DOT, 32, ANY),
    shape("pscale_oauth_", Kind::ServiceToken, URL64 | DOT, 32, ANY),
    shape("dp.pt.", Kind::ServiceToken, ALNUM, 40, ANY),
    shape("nfp_", Kind::ServiceToken, ALNUM, 36, ANY),
    shape("LTAI", Kind::ServiceToken, ALNUM, 16, 20),
    shape("shpat_", Kind::ShopifyToken, HEX, 32, ANY),
    shape("shpca_", Kind::ShopifyToken, HEX, 32, ANY),
    shape("shppa_", Kind::ShopifyToken, HEX, 32, ANY),
    shape("shpss_", Kind::ShopifyToken, HEX, 32, ANY),
    shape("sq0atp-", Kind::SquareToken, URL64, 22, ANY),
    shape("sq0csp-", Kind::SquareToken, URL64, 40, ANY),
    shape("EAAA", Kind::SquareToken, URL64, 56, ANY),
    shape("discord.com/api/webhooks/", Kind::ChatWebhook, URL64 | BASE64_SIGN, 60, ANY),
    shape("discordapp.com/api/webhooks/", Kind::ChatWebhook, URL64 | BASE64_SIGN, 60, ANY),
    shape("webhook.office.com/webhookb2/", Kind::ChatWebhook, URL64 | BASE64_SIGN | TILDE, 40, ANY),
];

/// A body below this many bits a byte is a placeholder (`ghp_xxxxxxxx…`); random hexadecimal digits, the
/// poorest of the alphabets, have 3.6 in 32 digits.
const LEAST_ENTROPY: f64 = 2.5;
/// Bytes of a body that decide whether it is one.
const JUDGED: usize = 64;

/// Shapes by the first byte of their prefix, in the order of the table.
static SHAPES_BY_FIRST: LazyLock<[Vec<&Shape>; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| SHAPES.iter().filter(|shape| usize::from(shape.prefix.as_bytes()[0]) == byte).collect())
});

/// All first three bytes of prefixes. `SK` and a hexadecimal digit is written out by [`heads`].
pub(super) fn heads(mut add: impl FnMut([u8; 3])) {
    for shape in SHAPES {
        match *shape.prefix.as_bytes() {
            [a, b, c, ..] => add([a, b, c]),
            [a, b] => (0..=255).filter(|c| is(*c, shape.body)).for_each(|c| add([a, b, c])),
            _ => {}
        }
    }
    add(*b"eyJ");
    add(*b".at");
    // Base64 of two digits and what follows: see `discord`.
    for first in b"MNO" {
        for second in b"DTjz" {
            b"AEIMQUYcgk".iter().for_each(|third| add([*first, *second, *third]));
        }
    }
}

/// The token that begins at `at`, or around it where its mark stands in the middle.
pub(super) fn find(bytes: &[u8], floor: usize, at: usize) -> Option<Hit> {
    if bytes[at] == b'.' {
        return terraform(bytes, floor, at);
    }
    starts_word(bytes, floor, at).then(|| begins_at(bytes, at)).flatten()
}

/// The token that begins at `at`, where a word does.
pub(super) fn begins_at(bytes: &[u8], at: usize) -> Option<Hit> {
    let rest = bytes.get(at..)?;
    let alike = &SHAPES_BY_FIRST[usize::from(bytes[at])];
    let shapes = alike.iter().filter(|shape| rest.starts_with(shape.prefix.as_bytes()));
    let by_prefix = shapes.copied().find_map(|shape| {
        let body = at + shape.prefix.len();
        // As far as it takes to be sure; a run that is no token must not be read to its end again and again.
        let judged = trimmed(bytes, body, short_run(bytes, body, shape.body, shape.least.max(JUDGED)));
        if judged - body < shape.least || entropy(&bytes[body..judged]) < LEAST_ENTROPY {
            return None;
        }
        let end = trimmed(bytes, body, run(bytes, judged, shape.body));
        let fits = shape.most == ANY || end - body <= shape.most && ends_word(bytes, end);
        fits.then_some(Hit::new(at, end, shape.kind))
    });
    by_prefix.or_else(|| jwt(bytes, at)).or_else(|| discord(bytes, at))
}

/// A sentence's full stop is not of the token.
fn trimmed(bytes: &[u8], start: usize, mut end: usize) -> usize {
    while end > start && bytes[end - 1] == b'.' {
        end -= 1;
    }
    end
}

/// A header that names an algorithm; with nothing behind it, the rest was cut off.
const ALG: &[u8] = b"eyJhbGciOi";
const SHORTEST_PART: usize = 10;
/// A header with a chain of certificates is longer and is not looked for.
const LONGEST_HEADER: usize = 512;

fn jwt(bytes: &[u8], at: usize) -> Option<Hit> {
    if !bytes[at..].starts_with(b"eyJ") {
        return None;
    }
    let header = short_run(bytes, at, URL64, LONGEST_HEADER);
    let payload = if bytes.get(header) == Some(&b'.') { run(bytes, header + 1, URL64) } else { header };
    let whole = header - at >= SHORTEST_PART && payload > header + SHORTEST_PART;
    let cut = bytes[at..].starts_with(ALG) && header - at >= 2 * SHORTEST_PART;
    if !whole && !cut {
        return None;
    }
    Some(Hit::new(at, trimmed(bytes, at, run(bytes, at, URL64 | DOT)), Kind::Jwt))
}

/// The first part is the base64 of the bot's number of 17 to 20 digits, the third a signature.
fn discord(bytes: &[u8], at: usize) -> Option<Hit> {
    if !matches!(bytes[at], b'M' | b'N' | b'O') {
        return None;
    }
    let id = short_run(bytes, at, ALNUM, 29);
    let time = short_run(bytes, id + 1, URL64, 7);
    let end = short_run(bytes, time + 1, URL64, 40);
    let dots = bytes.get(id) == Some(&b'.') && bytes.get(time) == Some(&b'.');
    let fits = (23..=28).contains(&(id - at)) && time - id == 7 && end - time >= 28;
    (dots && fits).then_some(Hit::new(at, end, Kind::DiscordToken))
}

/// `<14 letters and digits>.atlasv1.<60 or more>`.
fn terraform(bytes: &[u8], floor: usize, dot: usize) -> Option<Hit> {
    const MARK: &[u8] = b".atlasv1.";
    let start = run_back(bytes, floor, dot, ALNUM, 14);
    if dot - start != 14 || !starts_word(bytes, floor, start) || !bytes[dot..].starts_with(MARK) {
        return None;
    }
    let body = dot + MARK.len();
    let end = run(bytes, body, URL64 | BASE64_SIGN);
    let fits = end - body >= 60;
    fits.then_some(Hit::new(start, end, Kind::TerraformToken))
}

/// `abc8Q~…`, at its `~`.
pub(super) fn azure(bytes: &[u8], floor: usize, tilde: usize) -> Option<Hit> {
    const BODY: u16 = URL64 | DOT | TILDE;
    let start = tilde.checked_sub(5).filter(|start| *start >= floor)?;
    if bytes[tilde - 1] != b'Q' || !is(bytes[tilde - 2], DIGIT) || !bytes[start..tilde].iter().all(|b| is(*b, BODY)) {
        return None;
    }
    let body = tilde + 1;
    let end = short_run(bytes, body, BODY, 37);
    let fits = (31..=36).contains(&(end - body)) && entropy(&bytes[body..end]) >= LEAST_ENTROPY;
    fits.then_some(Hit::new(start, end, Kind::AzureClientSecret))
}

/// `<8 to 10 digits>:A<34 of base64url>`, at its colon.
pub(super) fn telegram(bytes: &[u8], floor: usize, colon: usize) -> Option<Hit> {
    if bytes.get(colon + 1) != Some(&b'A') {
        return None;
    }
    let start = run_back(bytes, floor, colon, DIGIT, 11);
    let end = short_run(bytes, colon + 1, URL64, 38);
    let fits = (8..=10).contains(&(colon - start)) && (33..=37).contains(&(end - colon - 1));
    // `bot123456789:AA…` is how it stands in addresses.
    let bot = bytes[floor..start].ends_with(b"bot");
    let random = || entropy(&bytes[colon + 1..end]) >= LEAST_ENTROPY;
    (fits && (bot || starts_word(bytes, floor, start)) && random()).then_some(Hit::new(start, end, Kind::TelegramToken))
}

/// Whether a run of letters and digits is hexadecimal throughout.
pub(super) fn is_hex(value: &[u8]) -> bool {
    value.iter().all(|byte| is(*byte, DIGIT | HEX_LETTER))
}

/// Whether a value has a capital, a small letter and a digit.
pub(super) fn is_mixed(value: &[u8]) -> bool {
    let has = |class| value.iter().any(|byte| is(*byte, class));
    has(UPPER) && has(LETTER & !UPPER) && has(DIGIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(text: &str) -> Option<(Kind, usize)> {
        begins_at(text.as_bytes(), 0).map(|hit| (hit.kind, hit.end))
    }

    #[test]
    fn each_prefix_is_found_and_a_placeholder_is_not() {
        for shape in SHAPES {
            let letters: Vec<u8> = (b'0'..=b'z').filter(|byte| is(*byte, shape.body & ALNUM)).collect();
            let body: String = letters.iter().cycle().take(shape.least).map(|byte| char::from(*byte)).collect();
            let token = format!("{}{body}", shape.prefix);
            assert_eq!(kind_of(&format!("{token} ")), Some((shape.kind, token.len())), "{token}");
            let dull = format!("{}{}", shape.prefix, "0".repeat(shape.least));
            assert!(kind_of(&dull).is_none(), "{dull}");
        }
    }

    #[test]
    fn shapes_without_a_prefix_are_found() {
        let b = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz";
        let text = format!("abc8Q~{}", &b[..34]);
        assert_eq!(azure(text.as_bytes(), 0, 5).map(|hit| hit.start), Some(0));
        let text = format!("abcdefghijklmn.atlasv1.{b}");
        assert_eq!(find(text.as_bytes(), 0, 14).map(|hit| hit.end), Some(text.len()));
        let text = format!("123456789:A{}", &b[..34]);
        assert_eq!(telegram(text.as_bytes(), 0, 9).map(|hit| hit.end), Some(text.len()));
        let text = format!("MTA1234567890123456789012.abcdef.{}", &b[..27]);
        assert_eq!(kind_of(&text), Some((Kind::DiscordToken, text.len())));
        assert_eq!(kind_of("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0. x"), Some((Kind::Jwt, 39)));
        assert_eq!(kind_of("eyJhbGciOiJIUzI1NiIsInR5"), Some((Kind::Jwt, 24)));
        assert_eq!(kind_of("eyJ"), None);
    }
}
