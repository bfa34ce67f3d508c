//! Secrets of all kinds made by a seed, in lines as they stand in logs: how many are found. And recorded
//! log lines without secrets: how many are taken for one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // helpers outside `#[test]`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aiops_core::Redactor;

/// What is to be found, of secrets made by the shapes that their issuers publish.
const SECRETS: usize = 2_000;
const RECALL: f64 = 0.99;
/// Lines of recorded logs in which something may be found.
const FALSE_HITS: f64 = 0.01;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const CAPITALS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const URL64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const HEX: &str = "0123456789abcdef";
const DIGITS: &str = "0123456789";
/// What people and generators put into passwords.
const TYPED: &str = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789!#%*+-.@_";

fn base64(bytes: &[u8]) -> String {
    let alphabet = BASE64.as_bytes();
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().chain(&[0; 3]).take(3).fold(0_usize, |all, byte| all << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = char::from(alphabet[bits >> (18 - 6 * place) & 63]);
            out.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

fn url64(text: &str) -> String {
    base64(text.as_bytes()).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn luhn(head: &str, length: usize, random: &mut Random) -> String {
    let body = format!("{head}{}", random.text(DIGITS, length - 1 - head.len()));
    (0..10)
        .map(|last| format!("{body}{last}"))
        .find(|card| {
            let sum: u32 = card.bytes().rev().enumerate().fold(0, |sum, (place, byte)| {
                let digit = u32::from(byte - b'0') * if place % 2 == 1 { 2 } else { 1 };
                sum + digit / 10 + digit % 10
            });
            sum.is_multiple_of(10)
        })
        .unwrap()
}

fn iban(country: &str, body: &str) -> String {
    (2..99)
        .map(|check| format!("{country}{check:02}{body}"))
        .find(|iban| {
            let rest = format!("{}{}", &iban[4..], &iban[..4]);
            let digits: String = rest.chars().map(|c| c.to_digit(36).unwrap().to_string()).collect();
            digits.bytes().fold(0, |remainder, byte| (remainder * 10 + u32::from(byte - b'0')) % 97) == 1
        })
        .unwrap()
}

/// A secret of the kind by the shape that its issuer publishes, and where it stands: `{}` in its text.
fn secret(kind: &str, r: &mut Random) -> (String, &'static str) {
    let bare = "{}";
    match kind {
        "aws_access_key" => {
            (format!("{}{}", r.pick(&["AKIA", "ASIA"]), r.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)), bare)
        }
        "aws_secret_key" => (
            r.text(BASE64, 40),
            r.pick(&["aws_secret_access_key={}", "AWS_SECRET_ACCESS_KEY: {}", "\"SecretAccessKey\": \"{}\""]),
        ),
        "gcp_api_key" => (format!("AIza{}", r.text(URL64, 35)), bare),
        "gcp_oauth" => (format!("GOCSPX-{}", r.text(URL64, 28)), bare),
        "azure_storage_key" => {
            (format!("{}==", r.text(BASE64, 86)), "AccountName=shop;AccountKey={};EndpointSuffix=core.windows.net")
        }
        "azure_sas" => (
            format!("{}%3D", r.text(ALNUM, 43)),
            "https://shop.blob.core.windows.net/c?sv=2026-01-01&sp=r&sig={}&se=2026",
        ),
        "azure_client_secret" => (format!("{}{}Q~{}", r.text(ALNUM, 3), r.below(10), r.text(ALNUM, 34)), bare),
        "github_token" => match r.below(2) {
            0 => (format!("{}{}", r.pick(&["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]), r.text(ALNUM, 36)), bare),
            _ => (format!("github_pat_{}_{}", r.text(ALNUM, 22), r.text(ALNUM, 59)), bare),
        },
        "gitlab_token" => (format!("{}{}", r.pick(&["glpat-", "gldt-", "glrt-"]), r.text(URL64, 20)), bare),
        "slack_token" => match r.below(2) {
            0 => (format!("xoxb-{}-{}-{}", r.text(DIGITS, 12), r.text(DIGITS, 12), r.text(ALNUM, 24)), bare),
            _ => (format!("xapp-1-A{}-{}-{}", r.text(CAPITALS, 10), r.text(DIGITS, 13), r.text(HEX, 64)), bare),
        },
        "slack_webhook" => (
            format!("T{}/B{}/{}", r.text(CAPITALS, 8), r.text(CAPITALS, 10), r.text(ALNUM, 24)),
            "https://hooks.slack.com/services/{}",
        ),
        "stripe_key" => (
            format!("{}{}", r.pick(&["sk_live_", "rk_live_", "sk_test_"]), {
                let n = 24 + r.below(75);
                r.text(ALNUM, n)
            }),
            bare,
        ),
        "openai_key" => match r.below(2) {
            0 => (format!("sk-{}T3BlbkFJ{}", r.text(ALNUM, 20), r.text(ALNUM, 20)), bare),
            _ => (format!("sk-proj-{}", r.text(URL64, 74)), bare),
        },
        "anthropic_key" => (format!("sk-ant-api03-{}AA", r.text(URL64, 93)), bare),
        "llm_key" => (format!("gsk_{}", r.text(ALNUM, 52)), bare),
        "npm_token" => (format!("npm_{}", r.text(ALNUM, 36)), bare),
        "pypi_token" => (format!("pypi-AgEIcHlwaS5vcmc{}", r.text(URL64, 80)), bare),
        "registry_token" => (format!("dckr_pat_{}", r.text(URL64, 27)), bare),
        "jwt" => {
            let claims = format!("{{\"sub\":\"{}\",\"iat\":17{}}}", r.text(LOWER, 8), r.text(DIGITS, 8));
            let header = url64(r.pick(&["{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{\"typ\":\"JWT\",\"alg\":\"RS256\"}"]));
            (format!("{header}.{}.{}", url64(&claims), r.text(URL64, 43)), bare)
        }
        "private_key" => {
            let label = r.pick(&["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"]);
            let line = r.pick(&["\n", "\\n", " "]);
            let body: Vec<String> = (0..8).map(|_| r.text(BASE64, 64)).collect();
            (format!("-----BEGIN {label}-----{line}{}{line}-----END {label}-----", body.join(line)), bare)
        }
        "age_key" => (format!("AGE-SECRET-KEY-1{}", r.text("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)), bare),
        "url_password" => (
            r.text("ABCDEFGHabcdefgh23456789!$*-._~", 14),
            r.pick(&[
                "postgres://shop:{}@db.internal:5432/shop",
                "https://ci:{}@git.example.org/x",
                "redis://:{}@cache:6379/0",
            ]),
        ),
        "authorization" => match r.below(2) {
            0 => (
                r.text(URL64, 40),
                r.pick(&[
                    "Authorization: Bearer {}",
                    "\"authorization\":\"Bearer {}\"",
                    "curl -H 'Authorization: token {}'",
                ]),
            ),
            _ => (base64(format!("{}:{}", r.text(LOWER, 6), r.text(TYPED, 12)).as_bytes()), "Authorization: Basic {}"),
        },
        "cookie" => {
            (r.text(ALNUM, 32), r.pick(&["Cookie: theme=dark; session={}", "Set-Cookie: sid={}; Path=/; HttpOnly"]))
        }
        "twilio_key" => (format!("SK{}", r.text(HEX, 32)), bare),
        "sendgrid_key" => (format!("SG.{}.{}", r.text(URL64, 22), r.text(URL64, 43)), bare),
        "mailgun_key" => (format!("key-{}", r.text(HEX, 32)), bare),
        "heroku_key" => (
            format!("{}-{}-{}-{}-{}", r.text(HEX, 8), r.text(HEX, 4), r.text(HEX, 4), r.text(HEX, 4), r.text(HEX, 12)),
            "HEROKU_API_KEY={}",
        ),
        "digitalocean_token" => (format!("{}{}", r.pick(&["dop_v1_", "doo_v1_", "dor_v1_"]), r.text(HEX, 64)), bare),
        "huggingface_token" => {
            (format!("hf_{}", r.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 34)), bare)
        }
        "vault_token" => (
            format!("hvs.{}", {
                let n = 90 + r.below(30);
                r.text(URL64, n)
            }),
            bare,
        ),
        "databricks_token" => (format!("dapi{}", r.text(HEX, 32)), bare),
        "datadog_key" => (r.text(HEX, 32), r.pick(&["DD_API_KEY={}", "DD-API-KEY: {}", "datadog_api_key: \"{}\""])),
        "grafana_token" => (format!("glsa_{}_{}", r.text(ALNUM, 32), r.text(HEX, 8)), bare),
        "newrelic_key" => (format!("NRAK-{}", r.text(CAPITALS, 27)), bare),
        "dynatrace_token" => (format!("dt0c01.{}.{}", r.text(CAPITALS, 24), r.text(CAPITALS, 64)), bare),
        "sentry_token" => (format!("sntryu_{}", r.text(HEX, 64)), bare),
        "pulumi_token" => (format!("pul-{}", r.text(HEX, 40)), bare),
        "terraform_token" => (format!("{}.atlasv1.{}", r.text(ALNUM, 14), r.text(ALNUM, 67)), bare),
        "atlassian_token" => (format!("ATATT3{}", r.text(URL64, 186)), bare),
        "service_token" => (format!("lin_api_{}", r.text(ALNUM, 40)), bare),
        "shopify_token" => (format!("{}{}", r.pick(&["shpat_", "shpca_", "shppa_", "shpss_"]), r.text(HEX, 32)), bare),
        "square_token" => (format!("sq0atp-{}", r.text(URL64, 22)), bare),
        "telegram_token" => (
            format!("{}{}:AA{}", 1 + r.below(9), r.text(DIGITS, 9), r.text(URL64, 33)),
            r.pick(&["{}", "https://api.telegram.org/bot{}/getMe"]),
        ),
        "discord_token" => {
            let id = format!("{}{}", 1 + r.below(9), r.text(DIGITS, 17));
            (format!("{}.{}.{}", url64(&id), r.text(URL64, 6), r.text(URL64, 38)), bare)
        }
        "chat_webhook" => {
            (format!("{}/{}", r.text(DIGITS, 18), r.text(URL64, 68)), "https://discord.com/api/webhooks/{}")
        }
        "password" => (
            {
                let n = 6 + r.below(20);
                r.text(TYPED, n)
            },
            r.pick(&[
                "password={}",
                "\"password\": \"{}\"",
                "DB_PASSWORD='{}'",
                "passwd: {}",
                "--password {}",
                "PGPASSWORD={}",
                "spring.datasource.password={}",
                "Server=db;User Id=sa;Pwd={};",
                "userPassword={}",
                "<password>{}</password>",
            ]),
        ),
        "secret" => (
            r.text(ALNUM, 24),
            r.pick(&[
                "client_secret={}",
                "api_key: {}",
                "\"apiKey\":\"{}\"",
                "x-api-key: {}",
                "GET /v1?access_token={}&page=2",
                "secret={}",
                "token: {}",
                "--token {}",
                "signing_key = \"{}\"",
                "X-Auth-Token: {}",
            ]),
        ),
        "email" => (
            format!(
                "{}.{}@{}.{}",
                r.text(LOWER, 5),
                r.text(LOWER, 7),
                r.text(LOWER, 8),
                r.pick(&["com", "org", "co.uk", "de", "io"])
            ),
            bare,
        ),
        "card" => {
            let (head, length) = [("4", 16), ("51", 16), ("55", 16), ("34", 15), ("37", 15), ("6011", 16)][r.below(6)];
            (luhn(head, length, r), bare)
        }
        "iban" => match r.below(3) {
            0 => (iban("DE", &r.text(DIGITS, 18)), bare),
            1 => (iban("GB", &format!("{}{}", r.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 4), r.text(DIGITS, 14))), bare),
            _ => (iban("NO", &r.text(DIGITS, 11)), bare),
        },
        other => panic!("no secrets are made of the kind {other}"),
    }
}

const LINES: [&str; 14] = [
    "2026-11-27T10:00:00Z ERROR checkout: {} was refused",
    "{}",
    "level=error msg=\"upstream said 401\" detail=\"{}\" attempt=3",
    "{\"level\":\"warn\",\"msg\":\"retry with {}\",\"n\":2}",
    "Nov 27 10:00:00 node-3 app[812]: using {}, attempt 2 of 5",
    "[worker-7] config loaded: {}; region=eu-west-1",
    "Traceback: ValueError('{}')",
    "10.0.0.7 - - \"GET /x?q={} HTTP/1.1\" 500 12",
    "exec: run.sh {} --verbose",
    "panic: bad credential ({}) in pool",
    "\u{1b}[31mERROR\u{1b}[0m {}",
    "java.lang.IllegalStateException: <{}>",
    "gr\u{fc}\u{df}e {} \u{2013} ende",
    "a=1\\n{}\\nb=2",
];

#[test]
fn secrets_of_all_kinds_are_found() {
    let redactor = Redactor::default();
    let kinds: Vec<&str> =
        Redactor::kinds().map(|(kind, _)| kind).filter(|kind| !["ip", "phone", "literal"].contains(kind)).collect();
    let mut random = Random(42);
    let (mut found, mut named) = (0, 0);
    let mut missed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for n in 0..SECRETS {
        let kind = kinds[n % kinds.len()];
        let (secret, stands) = secret(kind, &mut random);
        // Quoted forms stand in lines of their own kind.
        let line = if stands.contains('"') { "INFO request: {}" } else { random.pick(&LINES) };
        let text = line.replace("{}", &stands.replace("{}", &secret));
        let redacted = redactor.redact(&text);
        if redacted.text.contains(&secret) {
            missed.entry(kind).or_default().push(text);
            continue;
        }
        found += 1;
        named += usize::from(redacted.found.iter().any(|(name, _)| name == kind));
    }
    #[allow(clippy::cast_precision_loss)]
    let share = |count: usize| count as f64 / SECRETS as f64;
    println!(
        "redaction recall {:.4} ({found} of {SECRETS}), {:.4} under the kind's own name",
        share(found),
        share(named)
    );
    for (kind, texts) in &missed {
        println!("  missed {kind}: {} of them, such as {}", texts.len(), texts[0]);
    }
    assert!(share(found) >= RECALL, "recall {}", share(found));
}

#[test]
#[ignore = "needs AIOPS_DATA"]
fn recorded_lines_stay() {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("AIOPS_DATA").map_or_else(default, PathBuf::from).join("loghub");
    let redactor = Redactor::default();
    let (mut lines, mut hits) = (0_u32, 0_u32);
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let mut systems: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    systems.sort();
    for path in systems.iter().filter(|path| path.is_dir()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(path.join(format!("{name}_2k.log"))).unwrap();
        let mut of_system = 0;
        for line in String::from_utf8_lossy(&bytes).lines() {
            lines += 1;
            let redacted = redactor.redact(line);
            if redacted.found.is_empty() {
                continue;
            }
            of_system += 1;
            for (kind, count) in redacted.found.iter() {
                *kinds.entry(kind.to_owned()).or_default() += count;
            }
            if std::env::var_os("AIOPS_SHOW").is_some() {
                println!("{}", redacted.text);
            }
        }
        println!("{name}: {of_system} lines");
        hits += of_system;
    }
    let share = f64::from(hits) / f64::from(lines);
    println!("false hits {share:.4} ({hits} of {lines} lines), pieces by kind: {kinds:?}");
    assert!(lines >= 16_000 && share <= FALSE_HITS, "{share}");
}

/// Texts that make a scanner read on and on for nothing.
#[test]
fn no_text_takes_longer_than_its_length() {
    let redactor = Redactor::builder().with("ip").with("phone").literal("aaaaaaab").build().unwrap();
    let time = |text: &str| {
        let start = Instant::now();
        std::hint::black_box(redactor.redact(text));
        start.elapsed()
    };
    let pieces = [
        "a",
        "aaaa ",
        "=",
        ":",
        "password=",
        "password=\"",
        "key=",
        "key=a",
        "token: ",
        "pwd='",
        "pwd=\\\"",
        "pwd=\\\\\"",
        "--token ",
        "://",
        "://a:b",
        "x://u:p@",
        "@",
        "a@",
        "a@b.",
        "a.",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "-----",
        "eyJ",
        "eyJ-",
        "-eyJhbGciOi",
        "eyJaaaaaaaaaa.",
        "sk-ant-",
        "glft-",
        "xai-",
        "8Q~",
        ".atlasv1.",
        "MTA",
        "-MTA-",
        "MTA.",
        "1",
        "1 ",
        "1234 ",
        "4111-",
        "12345678:A",
        "GB82",
        "GB82 ",
        "Cookie: ",
        "Cookie: a=b;",
        "Authorization: Digest a=b, ",
        "Basic ",
        "bearer a",
        "[REDACTED:",
        "[REDACTED:a]",
        "[",
        "PASSWORD '",
        "<password>",
        "secret=${",
        "key=1.",
        "\u{200b}",
        "\u{fc}",
        "+1 ",
        "1:",
        "a,",
        "pwd=a,a",
        "\\",
        "\\\\\\\"",
        "%3D",
        "[31m",
        "hvs.",
        "'",
        "key=aA1/",
    ];
    for piece in pieces {
        let part = piece.repeat(4_096 / piece.len());
        let short: Duration = (0..16).map(|_| time(&part)).sum();
        let long = time(&part.repeat(16));
        // As long as its sixteen parts; a quadratic scanner takes 16 times as long.
        let bound = short.max(Duration::from_millis(5)) * 5;
        assert!(long <= bound, "{piece:?}: {short:?} in sixteen parts, {long:?} as one");
    }
}

#[test]
fn the_guide_lists_every_kind() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/redaction.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (kind, shape) in Redactor::kinds() {
        assert!(page.contains(&format!("| `{kind}` | {shape} |")), "{kind}");
    }
}
