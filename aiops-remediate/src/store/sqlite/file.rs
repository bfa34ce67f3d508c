//! The file: opened for one process, its schema brought up to date.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::StoreError;

/// In a file's header: it is a store of this library ("aiop").
const APPLICATION_ID: i32 = 0x6169_6f70;
/// Each brings a file from the version before to its own, counted from 1.
pub(super) const MIGRATIONS: [&str; 3] =
    [include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];
/// Statements that are kept ready; there are about 50.
const STATEMENTS: usize = 64;
const OPENING: &str = "open the store";

/// Opens a file, creates it if it is new, and migrates it if it is older.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| unusable(path, error);
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Duration::ZERO).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Set before the first access, so that the lock is taken with it and held until the file is closed.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    migrate(&mut connection, path, &MIGRATIONS)?;
    Ok(connection)
}

/// Brings a file to the version of the last migration, in one transaction.
fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), StoreError> {
    let failed = |error| unusable(path, error);
    // Also where nothing is to be done: a file in exclusive mode is locked by the first write lock.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let number = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(failed);
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if application != APPLICATION_ID && (tables > 0 || version != 0) {
        let source = "it is a database of another program".into();
        return Err(StoreError::Damaged { file: path.display().to_string(), source });
    }
    let newest = migrations.len();
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(missing) = migrations.get(done..) else {
        return Err(StoreError::Version {
            file: path.display().to_string(),
            found: i64::from(version),
            newest: i64::try_from(newest).unwrap_or(i64::MAX),
        });
    };
    if !missing.is_empty() {
        for migration in missing {
            transaction.execute_batch(migration).map_err(failed)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", i64::try_from(newest).unwrap_or(i64::MAX)).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Why a file cannot be used.
fn unusable(path: &Path, error: rusqlite::Error) -> StoreError {
    let file = path.display().to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Unavailable { doing: OPENING, source: format!("another process has {file} open").into() }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { file, source: Box::new(error) }
        }
        _ => StoreError::Unavailable { doing: OPENING, source: Box::new(error) },
    }
}
