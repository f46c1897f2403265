//! The schema, embedded, and the command that brings a database to it.

mod apply;
mod list;
mod roles;

pub use apply::{MigrateError, Migrator, State};
pub use list::{MIGRATIONS, Migration};
pub use roles::{APP, OWNER, Passwords, SYSTEM};
