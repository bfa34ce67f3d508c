//! The authorisers at hand keep their contract, and the suite catches those that do not.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use aiops_detectors::server::axum::http::{Request, request::Parts};
use aiops_detectors::server::{AllowEveryone, Authoriser, BearerToken, Denied};
use aiops_detectors::testing::check_authoriser;

fn request(token: &str) -> Parts {
    Request::post("/v1/logs").header("authorization", format!("Bearer {token}")).body(()).unwrap().into_parts().0
}

/// Lets in whom it has seen before.
#[derive(Debug, Default)]
struct Forgetful(AtomicUsize);

#[async_trait::async_trait]
impl Authoriser for Forgetful {
    async fn authorise(&self, _: &Parts) -> Result<(), Denied> {
        if self.0.fetch_add(1, Ordering::Relaxed) > 1 { Ok(()) } else { Err(Denied::Unauthenticated) }
    }
}

#[tokio::test]
async fn one_secret_is_let_in_and_another_is_not() {
    let (accepted, refused) = (request("s3cret"), request("secret"));
    check_authoriser(&BearerToken::new("s3cret"), &accepted, &refused).await.unwrap();
    check_authoriser(&Box::new(BearerToken::new("s3cret")), &accepted, &refused).await.unwrap();
    let violation = check_authoriser(&AllowEveryone, &accepted, &refused).await.unwrap_err();
    assert_eq!(violation.contract, "the refused request is denied");
    assert!(check_authoriser(&Forgetful::default(), &accepted, &refused).await.is_err());
}
