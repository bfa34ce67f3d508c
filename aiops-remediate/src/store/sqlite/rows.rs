//! Reading rows: one that does not read is an error that names its table and key.

use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row, Statement};
use serde::de::DeserializeOwned;

use super::{Fault, StoreError};

/// A row of a table, under the key that an error names.
pub(super) struct Record<'a> {
    table: &'static str,
    row: &'a Row<'a>,
    key: String,
}

impl<'a> Record<'a> {
    /// The first column of `row` is its key.
    fn new(table: &'static str, row: &'a Row<'a>) -> Result<Self, Fault> {
        Ok(Self { table, row, key: row.get(0)? })
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn column<T: FromSql>(&self, name: &str) -> Result<T, Fault> {
        Ok(self.row.get(name)?)
    }

    /// Reads JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, Fault> {
        let text: String = self.column(name)?;
        serde_json::from_str(&text).map_err(|error| self.corrupt(error))
    }

    pub(super) fn corrupt(&self, source: impl Into<aiops_core::BoxError>) -> Fault {
        StoreError::CorruptRecord { table: self.table, key: self.key.clone(), source: source.into() }.into()
    }
}

/// All rows of a query, whose first column is the key of `table`.
pub(super) fn all<T>(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Record<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let statement: &mut Statement<'_> = &mut statement;
    let mut rows = statement.query(params)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(read(&Record::new(table, row)?)?);
    }
    Ok(records)
}

/// The first row of a query, whose first column is the key of `table`.
pub(super) fn first<T>(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Record<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| read(&Record::new(table, row)?)).transpose()
}

/// Executes a statement.
pub(super) fn change(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, Fault> {
    Ok(connection.prepare_cached(sql)?.execute(params)?)
}

/// A number that a query without rows of a table gives.
pub(super) fn number(connection: &Connection, sql: &str, params: impl Params) -> Result<i64, Fault> {
    Ok(connection.prepare_cached(sql)?.query_row(params, |row| row.get(0))?)
}
