//! Names that secrets are assigned to.

use super::bytes::{ALNUM, DIGIT, DOT, UNDERSCORE, URL64, is, run_back};
use super::kind::Kind;

/// What a value must be like to be taken for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// Anything: the name says it all.
    Any,
    /// Four characters or more.
    Named,
    /// As `Named`; in prose (`token: value`) with a digit or 20 characters.
    Plain,
    /// What looks random: hexadecimal digits, base64, or mixed letters and digits.
    Random,
    /// Base64 that looks random; a plain `key` is most often no secret.
    Base64,
    /// The signature of an Azure address.
    Signature,
    /// An `Authorization` header.
    Header,
    /// A `Cookie` header.
    Cookies,
}

/// Endings of names, lower case and without `_`, `-` and `.`; the first that fits counts.
const ENDINGS: &[(&str, Kind, Strength)] = &[
    ("password", Kind::Password, Strength::Any),
    ("passwd", Kind::Password, Strength::Any),
    ("passphrase", Kind::Password, Strength::Any),
    ("passcode", Kind::Password, Strength::Any),
    ("passwort", Kind::Password, Strength::Any),
    ("pwd", Kind::Password, Strength::Any),
    ("secretaccesskey", Kind::AwsSecretKey, Strength::Named),
    ("accountkey", Kind::AzureStorageKey, Strength::Named),
    ("sharedaccesskey", Kind::AzureStorageKey, Strength::Named),
    ("apikey", Kind::Secret, Strength::Named),
    ("secretkey", Kind::Secret, Strength::Named),
    ("accesskey", Kind::Secret, Strength::Named),
    ("privatekey", Kind::Secret, Strength::Named),
    ("signingkey", Kind::Secret, Strength::Named),
    ("encryptionkey", Kind::Secret, Strength::Named),
    ("authkey", Kind::Secret, Strength::Named),
    ("masterkey", Kind::Secret, Strength::Named),
    ("sharedkey", Kind::Secret, Strength::Named),
    ("storagekey", Kind::Secret, Strength::Named),
    ("appkey", Kind::Secret, Strength::Named),
    ("applicationkey", Kind::Secret, Strength::Named),
    ("subscriptionkey", Kind::Secret, Strength::Named),
    ("licensekey", Kind::Secret, Strength::Named),
    ("routingkey", Kind::Secret, Strength::Random),
    ("clientsecret", Kind::Secret, Strength::Named),
    ("appsecret", Kind::Secret, Strength::Named),
    ("apisecret", Kind::Secret, Strength::Named),
    ("webhooksecret", Kind::Secret, Strength::Named),
    ("accesstoken", Kind::Secret, Strength::Named),
    ("authtoken", Kind::Secret, Strength::Named),
    ("refreshtoken", Kind::Secret, Strength::Named),
    ("sessiontoken", Kind::Secret, Strength::Named),
    ("securitytoken", Kind::Secret, Strength::Named),
    ("apitoken", Kind::Secret, Strength::Named),
    ("bearertoken", Kind::Secret, Strength::Named),
    ("secret", Kind::Secret, Strength::Plain),
    ("token", Kind::Secret, Strength::Plain),
    ("authorization", Kind::Authorization, Strength::Header),
    ("cookie", Kind::Cookie, Strength::Cookies),
    ("signature", Kind::Secret, Strength::Random),
    ("credential", Kind::Secret, Strength::Random),
    ("credentials", Kind::Secret, Strength::Random),
    ("sessionid", Kind::Secret, Strength::Random),
    ("sessid", Kind::Secret, Strength::Random),
    ("session", Kind::Secret, Strength::Random),
    ("auth", Kind::Secret, Strength::Random),
    ("key", Kind::Secret, Strength::Base64),
];

/// Names as a whole: as endings they are parts of other words.
const WHOLE: &[(&str, Kind, Strength)] = &[
    ("pass", Kind::Password, Strength::Any),
    ("pw", Kind::Password, Strength::Any),
    ("cvv", Kind::Password, Strength::Any),
    ("cvc", Kind::Password, Strength::Any),
    ("sig", Kind::AzureSas, Strength::Signature),
    ("sid", Kind::Secret, Strength::Random),
];

/// Last two letters of the names above: a bit for the last, by the one before it.
const LAST: [u32; 26] = {
    const fn add(mut table: [u32; 26], names: &[(&str, Kind, Strength)]) -> [u32; 26] {
        let mut at = 0;
        while at < names.len() {
            let name = names[at].0.as_bytes();
            table[(name[name.len() - 2] - b'a') as usize] |= 1 << (name[name.len() - 1] - b'a');
            at += 1;
        }
        table
    }
    add(add([0; 26], ENDINGS), WHOLE)
};

fn is_ending(before: u8, last: u8) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic().then(|| byte.to_ascii_lowercase() - b'a');
    letter(before).zip(letter(last)).is_some_and(|(before, last)| LAST[usize::from(before)] >> last & 1 == 1)
}

/// Last words that the word before belongs to: `api key: …`.
const TWO_WORDS: [&[u8]; 3] = [b"key", b"token", b"secret"];

const LONGEST: usize = 48;

/// A name, folded for comparison.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    folded: [u8; LONGEST],
    length: usize,
    pub(super) kind: Kind,
    pub(super) strength: Strength,
}

impl Key {
    /// The name that ends at `end`, if values of such names are secrets.
    pub(super) fn ending_at(bytes: &[u8], floor: usize, end: usize) -> Option<Self> {
        // Most signs stand behind other words, and between the numbers of a time.
        let last = run_back(bytes, floor, end, DIGIT | UNDERSCORE, LONGEST);
        if last < floor + 2 || !is_ending(bytes[last - 2], bytes[last - 1]) {
            return None;
        }
        let mut start = run_back(bytes, floor, end, URL64 | DOT, LONGEST);
        let word = &bytes[start..end];
        let joins = || TWO_WORDS.iter().any(|last| word.eq_ignore_ascii_case(last));
        if start > floor && bytes[start - 1] == b' ' && joins() {
            start = run_back(bytes, floor, start - 1, ALNUM, LONGEST - word.len());
        }
        Self::of(&bytes[start..end])
    }

    /// What values of a name are.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let (mut folded, mut length) = ([0; LONGEST], 0);
        let tail = &name[name.len().saturating_sub(LONGEST)..];
        let numbered = tail.iter().rposition(|byte| !byte.is_ascii_digit() && *byte != b'_').map_or(0, |n| n + 1);
        for byte in tail[..numbered].iter().filter(|byte| is(**byte, ALNUM)) {
            folded[length] = byte.to_ascii_lowercase();
            length += 1;
        }
        let key = &folded[..length];
        let whole = WHOLE.iter().find(|(whole, ..)| whole.as_bytes() == key || is_last_word(tail, whole));
        let found = whole.or_else(|| ENDINGS.iter().find(|(ending, ..)| ends_with(key, ending.as_bytes())));
        let (_, kind, strength) = *found?;
        Some(Self { folded, length, kind, strength }.of_vendor())
    }

    /// Keys of some vendors are told by the vendor's name alone.
    fn of_vendor(mut self) -> Self {
        if self.kind != Kind::Secret || self.strength == Strength::Base64 {
            return self;
        }
        let has = |vendor: &str| self.folded[..self.length].windows(vendor.len()).any(|part| part == vendor.as_bytes());
        let starts = |head: &str| self.folded[..self.length].starts_with(head.as_bytes());
        self.kind = if has("awssecret") {
            Kind::AwsSecretKey
        } else if has("heroku") {
            Kind::HerokuKey
        } else if has("datadog") || starts("ddapikey") || starts("ddapp") {
            Kind::DatadogKey
        } else if has("twilio") {
            Kind::TwilioKey
        } else {
            self.kind
        };
        self
    }

    /// Whether the whole name is this word.
    pub(super) fn is(&self, word: &str) -> bool {
        &self.folded[..self.length] == word.as_bytes()
    }
}

/// As the method of slices; most differ in their last letters.
fn ends_with(name: &[u8], ending: &[u8]) -> bool {
    let ([.., a, b], [.., c, d]) = (name, ending) else { return false };
    a == c && b == d && name.ends_with(ending)
}

/// `db_pass`, `dbPass`: the word stands by itself at the end of a longer name.
fn is_last_word(name: &[u8], word: &str) -> bool {
    let Some(start) = name.len().checked_sub(word.len()).filter(|start| *start > 0) else { return false };
    let (before, last) = (name[start - 1], &name[start..]);
    last.eq_ignore_ascii_case(word.as_bytes())
        && (!before.is_ascii_alphanumeric() || before.is_ascii_lowercase() && last[0].is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        let strength = |name: &str| Key::of(name.as_bytes()).map(|key| key.strength);
        for name in ["password", "DB_PASSWORD", "userPassword2", "spring.datasource.password", "dbPass", "pgpass_pw"] {
            assert_eq!(strength(name), Some(Strength::Any), "{name}");
        }
        for name in ["api_key", "X-API-Key", "clientSecret", "accessToken", "AWS_SECRET_ACCESS_KEY"] {
            assert_eq!(strength(name), Some(Strength::Named), "{name}");
        }
        for name in [
            "bypass",
            "compass",
            "tokens",
            "token_count",
            "secret_name",
            "keyboard",
            "design",
            "n",
            "",
            "access_key_id",
        ] {
            assert_eq!(strength(name), None, "{name}");
        }
        assert_eq!(Key::of(b"HEROKU_API_KEY").map(|key| key.kind), Some(Kind::HerokuKey));
        assert_eq!(Key::of(b"DD-API-KEY").map(|key| key.kind), Some(Kind::DatadogKey));
        assert_eq!(Key::of(b"aws_secret_key").map(|key| key.kind), Some(Kind::AwsSecretKey));
        let text = b"the API key";
        assert_eq!(Key::ending_at(text, 0, text.len()).map(|key| key.strength), Some(Strength::Named));
    }
}
