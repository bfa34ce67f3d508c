//! Tokens in forms: a page of another site does not know them.

use jiff::Timestamp;

use crate::sha256::{hex, hmac};

/// A token is good for this hour and the next.
const HOUR: i64 = 3_600;

/// Makes and checks tokens.
#[derive(Default)]
pub(in crate::server) struct Tokens {
    key: Vec<u8>,
}

impl Tokens {
    pub(in crate::server) fn new(key: Vec<u8>) -> Self {
        Self { key }
    }

    /// For this person and this form, now.
    pub(super) fn make(&self, person: &str, form: &str, now: Timestamp) -> String {
        self.of_hour(person, form, now.as_second().div_euclid(HOUR))
    }

    /// Whether it was made for this person and this form, not long ago.
    pub(super) fn holds(&self, token: &str, person: &str, form: &str, now: Timestamp) -> bool {
        let hour = now.as_second().div_euclid(HOUR);
        [hour, hour - 1].into_iter().any(|hour| same(token.as_bytes(), self.of_hour(person, form, hour).as_bytes()))
    }

    fn of_hour(&self, person: &str, form: &str, hour: i64) -> String {
        // Lengths stand before the texts, so that no two pairs give one token.
        let lengths = [(person.len() as u64).to_be_bytes(), (form.len() as u64).to_be_bytes()].concat();
        let hour = hour.to_be_bytes();
        hex(&hmac(&self.key, &[b"aiops form", &hour, &lengths, person.as_bytes(), form.as_bytes()]))
    }
}

/// Equality that takes as long wherever the first difference stands.
fn same(sent: &[u8], secret: &[u8]) -> bool {
    let differences = sent.iter().zip(secret).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0 && sent.len() == secret.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_person_one_form_and_its_time() {
        let at = |hours: i64| Timestamp::from_second(1_746_432_000 + hours * HOUR).unwrap();
        let tokens = Tokens::new(vec![7; 32]);
        let token = tokens.make("ada", "approval 1", at(0));
        assert!(tokens.holds(&token, "ada", "approval 1", at(0)));
        assert!(tokens.holds(&token, "ada", "approval 1", at(1)));
        assert!(!tokens.holds(&token, "ada", "approval 1", at(2)));
        assert!(!tokens.holds(&token, "bob", "approval 1", at(0)));
        assert!(!tokens.holds(&token, "ada", "approval 2", at(0)));
        assert!(!tokens.holds(&token, "adaa", "pproval 1", at(0)));
        assert!(
            !tokens.holds("", "ada", "approval 1", at(0)) && !tokens.holds(&token[1..], "ada", "approval 1", at(0))
        );
        assert!(!Tokens::new(vec![8; 32]).holds(&token, "ada", "approval 1", at(0)));
    }
}
