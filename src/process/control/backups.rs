//! How are an operator's commands about backups executed?

use data_encoding::BASE64;

use crate::control::reply::Reply;
use crate::process::control::outcome::text;
use crate::process::control::view;
use crate::service::Service;

pub(crate) async fn begin(service: &Service) -> Result<Reply, String> {
    let begun = service.backup_begin().await.map_err(text)?;
    Ok(Reply::BackupBegun(view::backup(&begun)))
}

pub(crate) async fn next(service: &Service, id: u64) -> Result<Reply, String> {
    let page = service.backup_next(id).await.map_err(text)?;
    Ok(Reply::BackupPage {
        data: BASE64.encode(&page.bytes),
        last: page.is_last,
    })
}

/// Ends a backup before its last page.
pub(crate) async fn end(service: &Service, id: u64) -> Result<Reply, String> {
    service.backup_end(id).await.map_err(text)?;
    Ok(Reply::Done("the backup is given up".to_owned()))
}
