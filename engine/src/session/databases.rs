//! Catalogs, databases, and dropping what is in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use frazil_catalog::{Error as CatalogError, RestCatalog, RestOptions};

use super::resolve::{Local, View, namespace};
use super::text::refuse;
use super::{BUILT_IN_CATALOG, DEFAULT_DATABASE, Session};
use crate::Result;
use crate::options::{Kind, Schema, Spec};
use crate::sql::{CreateCatalog, CreateDatabase, CreateView, Name};

fn catalog_schema() -> Schema {
    Schema::new("an Iceberg catalog")
        .key(Spec::new("type", Kind::OneOf(&["iceberg"])).required())
        .key(Spec::new("catalog-type", Kind::OneOf(&["rest"])).default("rest"))
        .key(Spec::new("uri", Kind::Text).required())
        .key(Spec::new("warehouse", Kind::Text))
        .key(Spec::new("token", Kind::Text))
}

impl Session {
    pub(super) async fn create_catalog(&mut self, create: &CreateCatalog, script: &str) -> Result<String> {
        let name = create.name.last();
        if self.catalogs.contains_key(name) {
            return match create.if_not_exists {
                true => Ok(format!("catalog {} is there already", create.name)),
                false => refuse(format!("there is a catalog '{name}' already"), None, &create.name, script),
            };
        }
        let options = catalog_schema().check(&create.options)?;
        let uri = options.text("uri");
        let text = |key| options.text_opt(key).map(str::to_owned);
        let reached = RestOptions {
            token: text("token"),
            warehouse: text("warehouse"),
            store: Some(self.env().store.clone()),
            ..RestOptions::default()
        };
        let catalog = RestCatalog::connect(uri, reached).await?;
        self.add_catalog(name, Arc::new(catalog));
        Ok(format!("catalog {} is at {uri}", create.name))
    }

    /// Gives the session another catalog. One of the same name is replaced.
    pub fn add_catalog(&mut self, name: &str, catalog: frazil_catalog::CatalogRef) {
        self.catalogs.insert(name.to_owned(), catalog);
    }

    pub(super) fn drop_catalog(&mut self, name: &Name, if_exists: bool, script: &str) -> Result<String> {
        let catalog = name.last();
        if if_exists && !self.catalogs.contains_key(catalog) {
            return Ok(format!("there is no catalog {name}"));
        }
        self.catalog_or_refuse(catalog, name, script)?;
        if catalog == BUILT_IN_CATALOG {
            return refuse("the built-in catalog can't be dropped", None, name, script);
        }
        if catalog == self.current.catalog {
            let help = format!("write USE CATALOG {BUILT_IN_CATALOG} before");
            return refuse("the current catalog can't be dropped", Some(help), name, script);
        }
        self.catalogs.remove(catalog);
        self.locals.retain(|path, _| path.catalog != catalog);
        Ok(format!("catalog {name} is no longer known here; what is in it stays"))
    }

    pub(super) fn use_catalog(&mut self, name: &Name, script: &str) -> Result<String> {
        self.catalog_or_refuse(name.last(), name, script)?;
        name.last().clone_into(&mut self.current.catalog);
        DEFAULT_DATABASE.clone_into(&mut self.current.database);
        Ok(format!("the current catalog is {name}"))
    }

    pub(super) async fn use_database(&mut self, name: &Name, script: &str) -> Result<String> {
        let (catalog, database) = self.database_of(name);
        let found = self.catalog_or_refuse(&catalog, name, script)?.load_namespace(&namespace(&database)).await;
        match found {
            Ok(_) => {}
            Err(CatalogError::NoSuchNamespace(_)) => {
                return self.refuse_unknown_database(&catalog, &database, name, script).await;
            }
            Err(error) => return Err(error.into()),
        }
        self.current = super::Current { catalog, database };
        Ok(format!("the current database is {}.{}", self.current.catalog, self.current.database))
    }

    /// Catalog and database of a database's name.
    pub(super) fn database_of(&self, name: &Name) -> (String, String) {
        // A database's name has one part less than a table's, so its catalog stands where a table has its database.
        let catalog = name.database().unwrap_or(&self.current.catalog);
        (catalog.to_owned(), name.last().to_owned())
    }

    pub(super) async fn create_database(&mut self, create: &CreateDatabase, script: &str) -> Result<String> {
        let (catalog, database) = self.database_of(&create.name);
        let mut properties: BTreeMap<String, String> =
            create.options.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        if let Some(comment) = &create.comment {
            properties.insert("comment".to_owned(), comment.clone());
        }
        let catalog = self.catalog_or_refuse(&catalog, &create.name, script)?;
        match catalog.create_namespace(&namespace(&database), properties).await {
            Ok(_) => Ok(format!("database {} is made", create.name)),
            Err(CatalogError::NamespaceExists(_)) if create.if_not_exists => {
                Ok(format!("database {} is there already", create.name))
            }
            Err(CatalogError::NamespaceExists(_)) => {
                let help = Some("CREATE DATABASE IF NOT EXISTS takes it as it is".to_owned());
                refuse(format!("there is a database '{database}' already"), help, &create.name, script)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn drop_database(
        &mut self,
        name: &Name,
        if_exists: bool,
        cascade: bool,
        script: &str,
    ) -> Result<String> {
        let (catalog_name, database) = self.database_of(name);
        let catalog = self.catalog_or_refuse(&catalog_name, name, script)?.clone();
        let ident = namespace(&database);
        if cascade {
            match catalog.list_tables(&ident).await {
                Ok(tables) => {
                    for table in tables {
                        catalog.drop_table(&table, false).await?;
                    }
                }
                Err(CatalogError::NoSuchNamespace(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match catalog.drop_namespace(&ident).await {
            Ok(()) => {}
            Err(CatalogError::NoSuchNamespace(_)) if if_exists => {
                return Ok(format!("there is no database {name}"));
            }
            Err(CatalogError::NoSuchNamespace(_)) => {
                return self.refuse_unknown_database(&catalog_name, &database, name, script).await;
            }
            Err(CatalogError::NamespaceNotEmpty(_)) => {
                let help = format!("drop its tables first, or write DROP DATABASE {name} CASCADE");
                return refuse(format!("the database '{database}' is not empty"), Some(help), name, script);
            }
            Err(error) => return Err(error.into()),
        }
        self.locals.retain(|path, _| path.catalog != catalog_name || path.database != database);
        Ok(format!("database {name} is dropped"))
    }

    pub(super) async fn create_view(&mut self, create: &CreateView, script: &str) -> Result<String> {
        let path = self.path_of(&create.name);
        if self.exists(&path).await? {
            return match create.if_not_exists {
                true => Ok(format!("{} is there already", create.name)),
                false => refuse(format!("there is a '{}' already", path.table), None, &create.name, script),
            };
        }
        let view = View {
            path: path.clone(),
            columns: create.columns.clone(),
            query: create.query.clone(),
            script: script.to_owned(),
            current: self.current.clone(),
            comment: create.comment.clone(),
        };
        // What it reads has to be there; whether it fits together is found when it is read.
        self.tables_of(&create.query, script).await?;
        self.locals.insert(path, Local::View(Arc::new(view)));
        Ok(format!("view {} is made; it lives as long as the session", create.name))
    }

    /// Whether a name is taken, in the session or in its catalog.
    pub(crate) async fn exists(&self, path: &super::TablePath) -> Result<bool> {
        if self.locals.contains_key(path) {
            return Ok(true);
        }
        match self.catalogs.get(&path.catalog) {
            Some(catalog) => Ok(catalog.table_exists(&path.ident()).await?),
            None => Ok(false),
        }
    }

    pub(super) async fn drop_table(
        &mut self,
        name: &Name,
        temporary: bool,
        if_exists: bool,
        purge: bool,
        script: &str,
    ) -> Result<String> {
        let path = self.path_of(name);
        match self.locals.get(&path) {
            Some(Local::Table(_)) => {
                if purge {
                    let help = Some("drop it without PURGE".to_owned());
                    return refuse("what the table reads is not its own to delete", help, name, script);
                }
                self.locals.remove(&path);
                return Ok(format!("table {name} is dropped"));
            }
            Some(Local::View(_)) => {
                let help = Some(format!("write DROP VIEW {name}"));
                return refuse(format!("'{}' is a view", path.table), help, name, script);
            }
            None if temporary && if_exists => return Ok(format!("there is no temporary table {name}")),
            None if temporary => {
                return refuse(format!("there is no temporary table '{}'", path.table), None, name, script);
            }
            None => {}
        }
        let catalog = self.catalog_or_refuse(&path.catalog, name, script)?;
        let location = match catalog.load_table(&path.ident()).await {
            Ok(table) => table.metadata().location().to_owned(),
            Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) if if_exists => {
                return Ok(format!("there is no table {name}"));
            }
            Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => {
                return self.resolve(name, script).await.map(|_| String::new());
            }
            // A table whose metadata is damaged can be dropped, too.
            Err(CatalogError::Table(_)) => String::from("its location"),
            Err(error) => return Err(error.into()),
        };
        catalog.drop_table(&path.ident(), purge).await?;
        Ok(match purge {
            true => format!("table {name} is dropped, and its files at {location} are deleted"),
            false => format!("table {name} is dropped; its files stay at {location}"),
        })
    }

    pub(super) fn drop_view(&mut self, name: &Name, if_exists: bool, script: &str) -> Result<String> {
        let path = self.path_of(name);
        match self.locals.get(&path) {
            Some(Local::View(_)) => {
                self.locals.remove(&path);
                Ok(format!("view {name} is dropped"))
            }
            Some(Local::Table(_)) => {
                let help = Some(format!("write DROP TABLE {name}"));
                refuse(format!("'{}' is a table", path.table), help, name, script)
            }
            None if if_exists => Ok(format!("there is no view {name}")),
            None => refuse(format!("there is no view '{}'", path.table), None, name, script),
        }
    }
}
