//! Foreign text encoded for the place where it is shown.
//!
//! What a model, a log line or a label says is data wherever it appears: it makes no link, image, preview,
//! mention, markup or escape sequence by itself (OWASP Top 10 for LLM applications 2026, LLM10).

mod sequences;
mod web;

pub use self::sequences::plain;

/// Where text is shown.
///
/// Every channel folds line breaks to one blank and leaves out terminal sequences and characters that show
/// nothing or change the direction of their neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Channel {
    /// Between the quotes of a JSON string, also where the JSON stands in a page. Addresses stay as they are:
    /// JSON shows nothing, and who shows it encodes again.
    Json,
    /// Text of an HTML page or mail, and values of its attributes in quotes. Not for scripts, styles, or
    /// attributes that hold addresses.
    Html,
    /// Slack's `mrkdwn`. Where a field takes `plain_text`, use that as well.
    Slack,
    /// CommonMark and GitHub's, as Mattermost, Teams, Discord and issue trackers show it.
    Markdown,
    /// A pager, a text message or a ticket, which shows text as it is and makes links of addresses.
    Pager,
    /// A terminal or a log line. Addresses stay as they are: nothing is fetched until a person opens one.
    Terminal,
}

impl Channel {
    /// The text as it can be put into this channel. The time is linear in the text.
    ///
    /// It is encoded once, where the message is made: encoded again, it shows its escapes.
    ///
    /// ```
    /// use aiops_core::Channel;
    /// let text = "see <https://evil.example/x|the runbook> @here";
    /// assert_eq!(Channel::Slack.encode(text), "see &lt;https[:]//evil[.]example/x|the runbook&gt; \u{ff20}here");
    /// assert_eq!(Channel::Terminal.encode("\u{1b}[31mred\u{1b}[0m"), "red");
    /// ```
    #[must_use]
    pub fn encode(self, text: &str) -> String {
        let text = plain(text);
        match self {
            Self::Json => web::json(&text),
            Self::Html => web::html(&text),
            Self::Slack => web::slack(&text),
            Self::Markdown => web::markdown(&text),
            Self::Pager => web::defanged(&text).replace('@', "\u{ff20}"),
            Self::Terminal => text,
        }
    }
}

#[cfg(test)]
mod tests;
