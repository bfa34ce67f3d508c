//! What is redacted: the table of kinds, each with the shape that is looked for.

macro_rules! kinds {
    ($($variant:ident $name:literal $shape:literal)*) => {
        /// A kind of secret or personal text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Kind {
            $(#[doc = $shape] $variant,)*
        }

        impl Kind {
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name that stands in `[REDACTED:name]`, in metrics and in `without`.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What is looked for, for people.
            pub(super) const fn shape(self) -> &'static str {
                match self {
                    $(Self::$variant => $shape,)*
                }
            }
        }
    };
}

// Shapes as the issuers document them, or as the public rule lists of secret scanners state them.
kinds! {
    AwsAccessKey "aws_access_key" "AKIA, ASIA, ABIA or ACCA and 16 capitals or digits"
    AwsSecretKey "aws_secret_key" "40 letters, digits, / or + assigned to aws…secret or …secret_access_key"
    GcpApiKey "gcp_api_key" "AIza and 35 of A-Za-z0-9_-"
    GcpOauth "gcp_oauth" "GOCSPX- and 28, or ya29. and 20 of A-Za-z0-9_-"
    AzureStorageKey "azure_storage_key" "a value of …AccountKey or …SharedAccessKey"
    AzureSas "azure_sas" "the sig= of a shared access signature: 43 base64 characters, or more with % escapes"
    AzureClientSecret "azure_client_secret" "3 characters, a digit, Q~ and 31 to 34 of A-Za-z0-9_~.-"
    GithubToken "github_token" "ghp_, gho_, ghu_, ghs_, ghr_ and 36, or github_pat_ and 36 or more letters and digits"
    GitlabToken "gitlab_token" "glpat-, gldt-, glrt-, glcbt-, glptt-, glft-, glsoat-, glimt-, glagent- or GR1348941 and 20"
    SlackToken "slack_token" "xoxa- to xoxs-, xoxe. or xapp- and 15 or more"
    SlackWebhook "slack_webhook" "hooks.slack.com/services, workflows or triggers and the path"
    StripeKey "stripe_key" "sk_ or rk_, live_, test_ or prod_ and 10; whsec_ and 24"
    OpenaiKey "openai_key" "sk-proj-, sk-svcacct-, sk-admin-, sk-or- and 16; sk- and 32 letters and digits"
    AnthropicKey "anthropic_key" "sk-ant- and 16 of A-Za-z0-9_-"
    LlmKey "llm_key" "keys of model providers: gsk_ and 40, xai- and 40, pplx- and 40, r8_ and 36"
    NpmToken "npm_token" "npm_ and 36 letters and digits"
    PypiToken "pypi_token" "pypi-AgE and 40 of A-Za-z0-9_-"
    RegistryToken "registry_token" "dckr_pat_ or dckr_oat_ and 20, rubygems_ and 48 hex, AKCp and 60"
    Jwt "jwt" "eyJ…: two or more base64url parts joined by dots, or a header cut off behind its alg"
    PrivateKey "private_key" "-----BEGIN … PRIVATE KEY-----, to its end or to the end of its base64 lines"
    AgeKey "age_key" "AGE-SECRET-KEY-1 and 58 capitals and digits"
    UrlPassword "url_password" "the password in scheme://user:password@host"
    Authorization "authorization" "the value behind Authorization, Bearer or Basic"
    Cookie "cookie" "the values behind Cookie and Set-Cookie"
    TwilioKey "twilio_key" "SK and 32 hex digits, or a secret assigned to a key that names twilio"
    SendgridKey "sendgrid_key" "SG., 22, a dot and 43 of A-Za-z0-9_-"
    MailgunKey "mailgun_key" "key- and 32 hex digits"
    HerokuKey "heroku_key" "HRKU- and 36, or a secret assigned to a key that names heroku"
    DigitaloceanToken "digitalocean_token" "dop_v1_, doo_v1_ or dor_v1_ and 64 hex digits"
    HuggingfaceToken "huggingface_token" "hf_ or api_org_ and 30 or more letters and digits"
    VaultToken "vault_token" "hvs., hvb. or hvr. and 24 of A-Za-z0-9_-"
    DatabricksToken "databricks_token" "dapi and 32 hex digits"
    DatadogKey "datadog_key" "a secret assigned to a key that names datadog, or to dd_api_key, dd_app_key"
    GrafanaToken "grafana_token" "glsa_ and 32, glc_ and 32, or eyJrIjoi and 60"
    NewrelicKey "newrelic_key" "NRAK- and 27, NRII- and 27 of A-Za-z0-9_-"
    DynatraceToken "dynatrace_token" "dt0c01., dt0s01. or dt0s16. and 24.64 capitals and digits"
    SentryToken "sentry_token" "sntrys_ or sntryu_ and 40 or more"
    PulumiToken "pulumi_token" "pul- and 40 hex digits"
    TerraformToken "terraform_token" "14 letters and digits, .atlasv1. and 60 or more"
    AtlassianToken "atlassian_token" "ATATT3, ATCTT3 or ATBB and 28 or more"
    ServiceToken "service_token" "lin_api_, PMAK-, sbp_, pscale_, dp.pt., nfp_, LTAI and their bodies"
    ShopifyToken "shopify_token" "shpat_, shpca_, shppa_ or shpss_ and 32 hex digits"
    SquareToken "square_token" "sq0atp- and 22, sq0csp- and 40, EAAA and 56 of A-Za-z0-9_-"
    TelegramToken "telegram_token" "8 to 10 digits, a colon, and A and 32 to 36 of A-Za-z0-9_-"
    DiscordToken "discord_token" "a base64 user id, a dot, 6, a dot and 27 of A-Za-z0-9_-"
    ChatWebhook "chat_webhook" "webhook addresses of Discord and Teams"
    Password "password" "a value assigned to password, passwd, pwd, passphrase, pass and the like"
    Secret "secret" "a value assigned to secret, token, api_key and the like; a random one of session, auth, signature, key"
    Email "email" "local@domain.tld"
    Card "card" "a payment card: a known issuer's first digits and length, Luhn's check digit"
    Iban "iban" "a country's length of IBAN, remainder 1 modulo 97"
    Ip "ip" "an IPv4 or IPv6 address; only where it is asked for"
    Phone "phone" "+ and 8 to 15 digits; only where it is asked for"
    Literal "literal" "a secret that the host named"
}

impl Kind {
    /// Whether the kind is on unless the host says otherwise: addresses tell where a fault is.
    pub(super) const fn by_default(self) -> bool {
        !matches!(self, Self::Ip | Self::Phone)
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u64);

const _: () = assert!(Kind::ALL.len() <= 64, "a bit for each kind");

impl Kinds {
    pub(super) fn by_default() -> Self {
        Kind::ALL.iter().filter(|kind| kind.by_default()).fold(Self(0), |all, kind| Self(all.0 | 1 << *kind as u64))
    }

    pub(super) fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u64 != 0
    }

    pub(super) fn set(&mut self, kind: Kind, on: bool) {
        self.0 = if on { self.0 | 1 << kind as u64 } else { self.0 & !(1 << kind as u64) };
    }
}
