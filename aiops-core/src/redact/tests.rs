use proptest::prelude::*;

use super::*;

fn redact(text: &str) -> String {
    Redactor::default().redact(text).text.into_owned()
}

#[test]
fn assigned_values_go_and_their_names_stay() {
    for (text, expected) in [
        ("password=hunter2", "password=[REDACTED:password]"),
        ("PGPASSWORD='a b' psql", "PGPASSWORD='[REDACTED:password]' psql"),
        (r#"{"password": "hun\"ter", "n": 1}"#, r#"{"password": "[REDACTED:password]", "n": 1}"#),
        (r#"{\"api_key\":\"abcd1234\"}"#, r#"{\"api_key\":\"[REDACTED:secret]\"}"#),
        ("db_pass: s3cr3t, next", "db_pass: [REDACTED:password], next"),
        ("Server=x;Pwd=a,b;Database=c", "Server=x;Pwd=[REDACTED:password];Database=c"),
        ("GET /?token=abc123&x=1", "GET /?token=[REDACTED:secret]&x=1"),
        ("run --password hunter2 --user x", "run --password [REDACTED:password] --user x"),
        ("[\"--token\",\"abc12345\"]", "[\"--token\",\"[REDACTED:secret]\"]"),
        ("<Password>hunter2</Password>", "<Password>[REDACTED:password]</Password>"),
        (":password => \"x y\",", ":password => \"[REDACTED:password]\","),
        ("user[password]=x1&b", "user[password]=[REDACTED:password]&b"),
        ("ALTER USER a PASSWORD 'b c'", "ALTER USER a PASSWORD '[REDACTED:password]'"),
        ("the API key: abcd-efgh", "the API key: [REDACTED:secret]"),
        ("password=\u{fc}ber\u{1f511} ok", "password=[REDACTED:password] ok"),
        ("secret=ghp_abcdefghijklmnopqrstuvwxyzABCDEF0123", "secret=[REDACTED:github_token]"),
        (
            "\"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n\"",
            "\"private_key\": \"[REDACTED:private_key]\\n\"",
        ),
    ] {
        assert_eq!(redact(text), expected, "{text}");
    }
}

#[test]
fn headers_lose_their_credentials() {
    for (text, expected) in [
        ("Authorization: Bearer abc.def", "Authorization: Bearer [REDACTED:authorization]"),
        ("\"authorization\":\"Basic dTpw\"", "\"authorization\":\"Basic [REDACTED:authorization]\""),
        (
            "Authorization: Digest username=\"u\", response=\"6629fae4\" next",
            "Authorization: Digest [REDACTED:authorization] next",
        ),
        ("Cookie: sid=abc; theme=dark", "Cookie: sid=[REDACTED:cookie]; theme=[REDACTED:cookie]"),
        (
            "set-cookie: id=a3fWa; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure; t=1",
            "set-cookie: id=[REDACTED:cookie]; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure; t=[REDACTED:cookie]",
        ),
        ("sent Basic dXNlcjpwYXNz to", "sent Basic [REDACTED:authorization] to"),
        ("a bearer tokenless request, Basic instructions", "a bearer tokenless request, Basic instructions"),
        ("authorization: failed", "authorization: failed"),
    ] {
        assert_eq!(redact(text), expected, "{text}");
    }
}

#[test]
fn ordinary_lines_stay() {
    for text in [
        "password: incorrect for root",
        "Failed password for invalid user admin from 10.0.0.1 port 22 ssh2",
        "unexpected token: identifier",
        "token=null password=${DB_PASSWORD} secret=<none> pwd=*** key=%s",
        "pwd=/home/user/project",
        "Token::parse(a == b) std::key::Value",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 pulled",
        "commit 3f2504e04f8911d39a0c0305e82c3301 by id 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "cache key=user:1234:profile hit, key: order_id",
        "http://user@example.org:8080/path?x=1",
        "max_tokens=4096 tokens: 12 primary_key=42",
        "private_key: /etc/ssl/private/server.key",
        "at 1700000000000 blk_-1608999687919862906 1234567890123456",
        "disk-usage task-runner-abcdefghijklmnopqrstuvwxyz012345",
    ] {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn invisible_characters_hide_nothing() {
    let key = "AKIAIOSFODNN7EXAMPLE";
    for (text, expected) in [
        ("x AKIA\u{200b}IOSFODNN7\u{1b}EXAMPLE y", "x [REDACTED:aws_access_key] y"),
        ("pass\u{e0041}word=x1", "password=[REDACTED:password]"),
        ("nothing \u{200b}here", "nothing \u{200b}here"),
    ] {
        assert_eq!(redact(text), expected);
    }
    for around in ["\\n", "%20", "\u{1b}[31m", "\"", "=", "/", "_"] {
        assert!(!redact(&format!("a{around}{key} b")).contains(key), "{around}");
    }
}

#[test]
fn hosts_switch_and_add() {
    let redactor = Redactor::builder()
        .without("email")
        .with("phone")
        .literal("hush")
        .literal("hush hush")
        .rule("bad", |text| text.find('\u{fc}').map(|at| at + 1..usize::MAX).into_iter().collect())
        .rule("panics", |text| if text.contains("boom") { panic!("boom") } else { Vec::new() })
        .build()
        .unwrap();
    let text = |text| redactor.redact(text).text.into_owned();
    assert_eq!(text("a@b.io +49 30 1234567 hush hush"), "a@b.io [REDACTED:phone] [REDACTED:literal]");
    assert_eq!(text("x\u{fc}y"), "x[REDACTED:bad]");
    assert_eq!(text("a hush boom"), "a [REDACTED:literal][REDACTED:panics]");
    assert!(!format!("{redactor:?}").contains("hush"));
    let error = |builder: RedactorBuilder| builder.build().unwrap_err().to_string();
    assert_eq!(
        error(Redactor::builder().without("e-mail")),
        "no kind is called \"e-mail\"; Redactor::kinds() lists them"
    );
    assert_eq!(error(Redactor::builder().literal("abcd").literal("abc")), "literal 1 has 3 bytes and needs 4");
    for name in ["", "Order", "email", "a b"] {
        assert!(error(Redactor::builder().rule(name, |_| Vec::new())).contains("needs a name of its own"), "{name}");
    }
    assert_eq!(Redactor::none().redact("password=hunter2").text, "password=hunter2");
}

#[test]
fn values_of_json_go_by_their_names() {
    let mut data = serde_json::json!({
        "headers": {"Authorization": "Bearer abcdef", "Cookie": "a=b"},
        "secret": ["abcd1", {"x": "y"}],
        "a@b.io": 1, "c@d.io": 2,
        "card": 4_111_111_111_111_111_u64,
        "token": null, "count": 7, "note": "plain",
    });
    let found = Redactor::default().redact_value(&mut data);
    let expected = serde_json::json!({
        "headers": {"Authorization": "[REDACTED:authorization]", "Cookie": "[REDACTED:cookie]"},
        "secret": ["[REDACTED:secret]", {"x": "y"}],
        "[REDACTED:email]": 1, "[REDACTED:email] 2": 2,
        "card": "[REDACTED:card]",
        "token": null, "count": 7, "note": "plain",
    });
    assert_eq!(data, expected);
    assert_eq!(found.total(), 6);
    assert!(Redactor::default().redact_value(&mut data).is_empty());

    let deep = (0..200).fold(serde_json::Value::from("x"), |inner, _| serde_json::json!([inner]));
    let mut deep = deep;
    assert_eq!(Redactor::default().redact_value(&mut deep).iter().collect::<Vec<_>>(), [("too_deep", 1)]);
}

/// Pieces that scanners look at, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "password",
            "=",
            ":",
            " ",
            "\"",
            "'",
            "\\",
            "\\n",
            "token",
            "key",
            "Authorization",
            "Bearer ",
            "Basic ",
            "Cookie",
            "set-cookie",
            ";",
            ",",
            "&",
            "@",
            "://",
            "a.io",
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_abcdefghijklmnopqrstuvwxyzABCDEF0123",
            "eyJhbGciOiJIUzI1NiJ9",
            ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.",
            "sk-ant-",
            "4111111111111111",
            "GB82WEST12345698765432",
            "--token ",
            "<secret>",
            "[REDACTED:email]",
            "[REDACTED:",
            "[",
            "]",
            "{",
            "}",
            "8Q~",
            "xoxb-",
            "123456789",
            "abcDEF012345",
            "\u{fc}",
            "\u{200b}",
            "\u{1f511}",
            "-",
            "_",
            ".",
            "\n",
            "%3D",
            "[31m",
            "sig",
            "hvs.",
            "=>",
            "(",
            ")",
            "MTA1234567890123456789012",
            "SG.",
            "dapi0123456789abcdef0123456789abcdef",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9]{1,12}",
        "\\PC{0,4}",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn redacted_text_redacts_to_itself(text in pieces()) {
        let redactor = Redactor::builder().with("ip").with("phone").literal("abcD").build().unwrap();
        let once = redactor.redact(&text);
        let again = redactor.redact(&once.text);
        prop_assert!(again.found.is_empty(), "{text:?} -> {:?} -> {:?}", once.text, again.text);
        prop_assert_eq!(&again.text, &once.text);
        prop_assert_eq!(once.found.is_empty(), once.text == text);
    }
}
