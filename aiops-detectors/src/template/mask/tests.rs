use crate::template::{fingerprint_line, mask_line};

fn masked(line: &str) -> String {
    mask_line(line.as_bytes())
}

#[test]
fn values_of_every_kind_become_one_star() {
    let values = [
        "17",
        "-17",
        "+0.27",
        "0x1f",
        "1e-5",
        "1,234",
        "3.5 KB",
        "12ms",
        "40 %",
        "5%",
        "1024 (1 KB)",
        "550e8400-e29b-41d4-a716-446655440000",
        "10.0.0.1",
        "10.0.0.1:8080",
        "fe80::1ff:fe23:4567:890a",
        "::1",
        "2607:f140:6000:8:c6b3:1ff:fecd:467f",
        "00:1a:2b:3c:4d:5e",
        "ab:cd:ef:ab:cd:ef",
        "00-1a-2b-3c-4d-5e",
        "2026-11-27T05:43:04.123Z",
        "2026-11-27 05:43:04,123 +0200",
        "2026/11/27 05:43",
        "27/Nov/2026:05:43:04 +0000",
        "Thu Aug 04 15:31:25 PDT 2005",
        "Aug  4 15:31:25",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sat Jun 18 02:08:10 2005",
        "https://a.example/x?y=1&z=2",
        "/var/log/x.log",
        "./run.sh",
        "../x",
        "~/x",
        "/v2/a?b=c&d=e",
        "C:\\Windows\\x.dll",
        "\\\\server\\share",
        "api.example.com:443",
        "cart-7d9c5b-x2x4",
        "deadbeef01",
        "user@example.com",
        "Device/Disk/Users/x.dat",
        "job_17_0003",
    ];
    for value in values {
        assert_eq!(masked(&format!("took {value} from a")), "took * from a", "{value}");
        // A query reaches to the next blank.
        if !value.contains('?') || value.contains("://") {
            assert_eq!(masked(&format!("took [{value}] from a")), "took [*] from a", "{value}");
        }
    }
}

#[test]
fn words_around_a_number_stay() {
    let cases = [
        ("node-96 of KB312, blk_-160", "node-* of KB*, blk_*"),
        ("Foo.java:123 failed", "Foo.java:* failed"),
        ("ipv4 sha256 log4j oauth2", "ipv4 sha256 log4j oauth2"),
        ("org.apache.log4j.Appender closed", "org.apache.log4j.Appender closed"),
        ("and/or I/O TCP/IP", "and/or I/O TCP/IP"),
        ("depth....................7", "depth....................*"),
        ("memory:1024, vCores:1", "memory:*, vCores:*"),
        ("std::string a::b", "std::string a::b"),
        ("true false null GET", "true false null GET"),
        ("  two   blanks\tand a tab ", "two blanks and a tab"),
        ("ids 1 2 3 4", "ids *…"),
        ("Größe 5 é", "Größe * é"),
    ];
    for (line, mask) in cases {
        assert_eq!(masked(line), mask);
    }
}

#[test]
fn a_name_stays_before_a_value_of_any_kind() {
    let values = [
        "17",
        "-17",
        "1.5",
        "0x1f",
        "10.0.0.1",
        "10.0.0.1:8080",
        "550e8400-e29b-41d4-a716-446655440000",
        "fe80::1ff:fe23:4567:890a",
        "ab:cd:ef:ab:cd:ef",
        "2026-11-27T05:43:04Z",
        "/var/log/x.log",
        "//var/log/x.log",
        "https://a.example/x?y=1&z=2",
        "hdfs:///user/x",
        "3 MB",
    ];
    for value in values {
        for name in ["node-", "rdd_", "core.", "depth......", "stack @"] {
            assert_eq!(masked(&format!("lost {name}{value} again")), format!("lost {name}* again"), "{value}");
        }
    }
    assert_eq!(masked("fe80::1::close() and 7b:31:14:b4:5d:30::close()"), "*::close() and *::close()");
    assert_eq!(masked("2026-11-27T05:43:04Z_x 7b:31:14:b4:5d:30_x"), "*_x *_x");
    assert_eq!(masked("took 3 ms-5 ms"), "took *");
    assert_eq!(masked("s3://bucket/key on v1.2.3 and python3.11"), "* on v* and python*");
    assert_eq!(masked("my-node-17 at eu.node-17"), "* at *");
}

#[test]
fn a_secret_does_not_change_the_fingerprint() {
    let lines = |secret: &str| {
        [
            format!("login password={secret} ok"),
            format!("{{\"api_key\":\"{secret}\",\"n\":1}}"),
            format!("Authorization: Bearer {secret}"),
            format!("db-password: '{secret}' set"),
            format!("?token={secret}&x=y"),
        ]
    };
    for (one, other) in lines("hunter").iter().zip(lines("x7-Kq.92/aZ+==")) {
        assert_eq!(fingerprint_line(one.as_bytes()), fingerprint_line(other.as_bytes()), "{one}");
        assert!(!masked(one).contains("hunter"));
    }
}

#[test]
fn masking_what_is_masked_changes_nothing() {
    // SplitMix64 over an alphabet of what the rules look at.
    let alphabet = b"aafx0123 \t:/\\.-_+~$%@*<>()[]{}\"'=,;#|?GB ms\xc3\xa9\xff\0\n";
    let mut state = 7u64;
    for _ in 0..20_000 {
        let mut line = Vec::new();
        for _ in 0..40 {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut bits = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            bits ^= bits >> 27;
            line.push(alphabet[(bits % alphabet.len() as u64) as usize]);
        }
        let once = mask_line(&line);
        assert_eq!(mask_line(once.as_bytes()), once, "{:?}", String::from_utf8_lossy(&line));
        assert!(once.len() <= super::MAX_LINE);
    }
}

#[test]
fn any_bytes_are_read_and_only_the_beginning_of_a_long_line() {
    let long: Vec<Vec<u8>> = vec![
        vec![b'x'; 1 << 20],
        vec![b'['; 100_000],
        vec![0; 1 << 20],
        vec![0xff; 1 << 20],
        b"a:".repeat(1 << 19),
        b"ab:0f:".repeat(1 << 18),
        b"1-".repeat(1 << 19),
        b"/a?".repeat(1 << 18),
        "é".repeat(1 << 19).into_bytes(),
    ];
    for line in long {
        let once = mask_line(&line);
        assert!(once.len() <= super::MAX_LINE);
        assert_eq!(mask_line(once.as_bytes()), once);
    }
    assert!(masked(&"word ".repeat(2000)).ends_with('…'));
    assert_eq!(masked(""), "");
}
