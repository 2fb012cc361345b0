//! A gateway permits a request when the check is answered with 200, so a refusal never has that status.

use crate::support::client::TestRequest;
use crate::support::harness::TestApp;

#[tokio::test]
async fn s58_a_refused_check_is_never_200_for_any_original_request() {
    for trusted in ["[]", "[\"127.0.0.1/32\"]"] {
        let app = TestApp::with(&format!("[server]\ntrusted_proxies = {trusted}\n")).await;
        for (name, value) in [
            ("content-type", "application/grpc"),
            ("content-type", "application/grpc+proto"),
            ("accept", "application/grpc"),
        ] {
            for odd in [
                ("x-odd", "1"),
                ("expect", "the unexpected"),
                ("host", "a, b"),
                ("authorization", "Bearer x"),
            ] {
                for path in ["/auth/verify/orders", "/auth/verify", "/auth/verify/a//b"] {
                    for method in ["GET", "HEAD", "POST", "OPTIONS", "BREW"] {
                        let request = TestRequest::new(method, path).with(name, value);
                        let request = request
                            .with(odd.0, odd.1)
                            .with("x-forwarded-method", "POST");
                        let request = request.with("x-forwarded-uri", "/orders");
                        let answer = request
                            .with("x-forwarded-host", "app")
                            .send(app.address)
                            .await;
                        assert!(answer.status >= 400, "{path} {odd:?}: {}", answer.status);
                    }
                }
            }
        }
    }
}
