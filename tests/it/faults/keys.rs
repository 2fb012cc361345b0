//! Signing keys are missing or damaged: the start fails, and no token of the old keys is accepted.

use sidegate::process::Beginning;

use crate::support::harness::TestApp;

#[tokio::test]
async fn s58_missing_or_damaged_keys_stop_the_start_and_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    let clock = app.clock.clone();
    app.stop().await;
    let keys = folder.path().join("keys");
    for entry in std::fs::read_dir(&keys).unwrap() {
        let path = entry.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, b"").unwrap();
        let started = TestApp::try_on_disk(folder.path(), "", &clock).await;
        assert!(
            started.is_err(),
            "started with an emptied {}",
            path.display()
        );
        std::fs::write(&path, whole).unwrap();
    }
    assert!(
        TestApp::try_on_disk(folder.path(), "", &clock)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn s58_tokens_of_missing_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    let ann = app.user("ann").await;
    let clock = app.clock.clone();
    app.stop().await;
    std::fs::remove_dir_all(folder.path().join("keys")).unwrap();
    let refused = TestApp::try_on_disk(folder.path(), "", &clock).await;
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("--new-keys"), "{words}");
    let new_keys = Beginning {
        new_keys: true,
        ..Beginning::default()
    };
    let app = TestApp::try_beginning(folder.path(), new_keys, &clock)
        .await
        .unwrap();
    let ann = ann.at(&app);
    assert_eq!(ann.get("/x").await.status, 401);
    assert_eq!(ann.try_refresh().await.status, 401);
}
