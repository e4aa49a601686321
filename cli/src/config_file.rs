//! `frazil.toml` and the environment: what holds where the command line says nothing.
//!
//! The command line beats the environment, and the environment beats the file. There is no second list of names: a key of
//! the file is the long name of an option, at the top level if every command has it, in `[run]` if the command `run` has
//! it; a variable is `FRAZIL_` and the same in capitals (`FRAZIL_DATA_DIR`, `FRAZIL_RUN_PARALLELISM`). What the file says
//! becomes the defaults of the [`Command`] that parses the command line, so it is checked just as if it had been typed.

use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};
use frazil_engine::suggest::{nearest, one_of};
use frazil_storage::StoreConfig;
use toml::de::{DeTable, DeValue};

use crate::args::{Args, Given};
use crate::error::{Error, Result};

/// Options that mean one moment, so that a file can't have them.
const ONLY_TYPED: [&str; 7] = ["config", "help", "version", "execute", "file", "reset", "job-id"];

/// The section of the options `--catalog…`, under their names without that.
const CATALOG: &str = "catalog";

/// The section of what `--storage` takes: a key is a property, and what is typed goes before it, property by property.
const STORAGE: &str = "storage";

/// Reads the command line, the environment, and the file that they name.
///
/// # Errors
/// What is wrong with the file, with its line. What is wrong with the command line ends the program.
pub(crate) fn parse_args() -> Result<Args> {
    let command = with_environment(Args::command());
    // What else is wrong with the command line is seen when the file's defaults are known.
    let first = command.clone().ignore_errors(true).try_get_matches();
    let path = first.ok().and_then(|matches| matches.get_one::<PathBuf>("config").cloned());
    let (command, mut storage) = match path {
        Some(path) => with_file(command, &path)?,
        None => (command, Vec::new()),
    };
    let matches = command.get_matches();
    let mut args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    storage.append(&mut args.common.storage);
    args.common.storage = storage;
    if let (Some(job), Some((_, matches))) = (args.job_mut(), matches.subcommand()) {
        job.given = Given::of(matches);
    }
    Ok(args)
}

/// Gives every option that takes a value its variable.
fn with_environment(command: Command) -> Command {
    let named = |arg: Arg, section: Option<&str>| match arg.get_long() {
        Some(long) if arg.get_action().takes_values() && (!ONLY_TYPED.contains(&long) || long == "config") => {
            let parts = ["frazil"].into_iter().chain(section).chain([long]);
            let variable = parts.collect::<Vec<_>>().join("_").replace('-', "_").to_uppercase();
            arg.env(variable).hide_env(true)
        }
        _ => arg,
    };
    let command = command.mut_args(|arg| named(arg, None));
    command.mut_subcommands(|sub| {
        let section = section_of(sub.get_name()).to_owned();
        sub.mut_args(|arg| named(arg, Some(&section)))
    })
}

/// What is explained is what would run.
fn section_of(command: &str) -> &str {
    if command == "explain" { "run" } else { command }
}

/// The command with the file's values as defaults, and the properties of stores that the file has.
fn with_file(mut command: Command, path: &Path) -> Result<(Command, Vec<(String, String)>)> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::BadInput(format!("the configuration {name} can't be read: {error}")))?;
    let file = File { path, text: &text };
    let table = DeTable::parse(&text)
        .map_err(|error| file.refuse(error.span().map_or(0, |span| span.start), error.message()))?;
    let mut storage = Vec::new();
    for (key, value) in table.get_ref() {
        let (name, at) = (key.get_ref().as_ref(), key.span().start);
        if name == STORAGE {
            file.properties(String::new(), value.get_ref(), at, &mut storage)?;
            continue;
        }
        let DeValue::Table(section) = value.get_ref() else {
            let option = file.option(&command, None, name, at)?.clone();
            let value = file.value(name, &option, value.get_ref(), at)?;
            command = set(command, None, &option, &value);
            continue;
        };
        file.check_section(&command, name, at)?;
        for (key, value) in section {
            let (key, at) = (key.get_ref().as_ref(), key.span().start);
            let option = file.option(&command, Some(name), key, at)?.clone();
            let value = file.value(key, &option, value.get_ref(), at)?;
            let section = (name != CATALOG).then_some(name);
            command = set(command, section, &option, &value);
        }
    }
    Ok((command, storage))
}

/// Makes `value` the default of an option, of every command that shares the section.
fn set(command: Command, section: Option<&str>, option: &Arg, value: &str) -> Command {
    let id = option.get_id().clone();
    let change = |arg: Arg| {
        let arg = match arg.get_action() {
            // So that the command line can say otherwise: --no-follow=false.
            ArgAction::SetTrue => {
                arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
            }
            _ => arg,
        };
        match arg.get_value_delimiter() {
            Some(delimiter) => arg.default_values(value.split(delimiter).map(str::to_owned)),
            None => arg.default_value(value.to_owned()),
        }
    };
    let Some(section) = section else { return command.mut_arg(id, change) };
    let commands: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    commands.into_iter().filter(|name| section_of(name) == section).fold(command, |command, name| {
        command.mut_subcommand(name, |sub| {
            let has_it = sub.get_arguments().any(|arg| *arg.get_id() == id);
            if has_it { sub.mut_arg(id.clone(), change) } else { sub }
        })
    })
}

/// The names that a section may have, with their options.
fn options<'a>(command: &'a Command, section: Option<&str>) -> Vec<(&'a str, &'a Arg)> {
    let by_name = |arg: &'a Arg| arg.get_long().map(|long| (long, arg));
    let of_catalog = |(long, arg): (&'a str, &'a Arg)| match long.strip_prefix(CATALOG) {
        Some("") => Some(("uri", arg)),
        Some(rest) => Some((rest.trim_start_matches('-'), arg)),
        None => None,
    };
    let all: Vec<_> = match section {
        None => {
            let all = command.get_arguments().filter_map(by_name);
            all.filter(|option| of_catalog(*option).is_none() && option.0 != STORAGE).collect()
        }
        Some(CATALOG) => command.get_arguments().filter_map(by_name).filter_map(of_catalog).collect(),
        Some(section) => {
            let sub = command.find_subcommand(section).into_iter();
            sub.flat_map(Command::get_arguments).filter_map(by_name).collect()
        }
    };
    all.into_iter().filter(|(name, _)| !ONLY_TYPED.contains(name)).collect()
}

/// The sections that a file may have.
fn sections(command: &Command) -> Vec<&str> {
    let commands = command.get_subcommands().map(Command::get_name).filter(|name| section_of(name) == *name);
    let with_options = commands.chain([CATALOG]).filter(|name| !options(command, Some(name)).is_empty());
    with_options.chain([STORAGE]).collect()
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn check_section(&self, command: &Command, name: &str, at: usize) -> Result<()> {
        let names = sections(command);
        match (names.contains(&name), name) {
            (true, _) => Ok(()),
            (false, "explain") => {
                Err(self.refuse(at, "there is no section [explain]: what is explained has its options in [run]"))
            }
            (false, _) => Err(self.unknown(at, &format!("there is no section [{name}]"), name, &names)),
        }
    }

    fn option<'c>(&self, command: &'c Command, section: Option<&str>, key: &str, at: usize) -> Result<&'c Arg> {
        let options = options(command, section);
        if let Some((_, arg)) = options.iter().find(|(name, _)| *name == key) {
            return Ok(arg);
        }
        let what = match section {
            Some(section) => format!("[{section}] has no key '{key}'"),
            None => format!("there is no key '{key}' outside of a section"),
        };
        let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
        let has_near = |section: &&str| {
            let names = self::options(command, Some(section)).into_iter().map(|(name, _)| name);
            !nearest(key, names, 1).is_empty()
        };
        let elsewhere = sections(command).into_iter().filter(|other| Some(*other) != section).find(has_near);
        match elsewhere.filter(|_| nearest(key, names.iter().copied(), 1).is_empty()) {
            Some(section) => {
                let names = self::options(command, Some(section)).into_iter().map(|(name, _)| name);
                let near = nearest(key, names, 1);
                Err(self.refuse(at, &format!("{what}; did you mean {} in [{section}]?", one_of(&near))))
            }
            None => Err(self.unknown(at, &what, key, &names)),
        }
    }

    /// The properties of stores in a value. TOML takes the points of a bare key for tables in tables.
    fn properties(
        &self,
        name: String,
        value: &DeValue<'_>,
        at: usize,
        found: &mut Vec<(String, String)>,
    ) -> Result<()> {
        if let DeValue::Table(table) = value {
            return table.iter().try_for_each(|(key, value)| {
                let name =
                    if name.is_empty() { key.get_ref().to_string() } else { format!("{name}.{}", key.get_ref()) };
                self.properties(name, value.get_ref(), key.span().start, found)
            });
        }
        if name.is_empty() {
            return Err(self.refuse(at, "storage is a section: [storage], with a line for each property"));
        }
        let text = scalar(value).ok_or_else(|| self.refuse(at, &format!("'{name}' can't be a list or a date")))?;
        StoreConfig::new([(name.clone(), text.clone())]).map_err(|error| self.refuse(at, &error.to_string()))?;
        found.push((name, text));
        Ok(())
    }

    fn unknown(&self, at: usize, what: &str, given: &str, names: &[&str]) -> Error {
        let near = nearest(given, names.iter().copied(), 3);
        match near.is_empty() {
            false => self.refuse(at, &format!("{what}; did you mean {}?", one_of(&near))),
            true => self.refuse(at, &format!("{what}; there are {}", names.join(", "))),
        }
    }

    /// The value as it would be typed, if the option takes it.
    fn value(&self, key: &str, option: &Arg, value: &DeValue<'_>, at: usize) -> Result<String> {
        let text = match (value, option.get_value_delimiter()) {
            (DeValue::Array(items), Some(delimiter)) => {
                let items = items.iter().map(|item| scalar(item.get_ref()));
                items.collect::<Option<Vec<_>>>().map(|items| items.join(&delimiter.to_string()))
            }
            (value, _) => scalar(value),
        };
        let text = text.ok_or_else(|| self.refuse(at, &format!("'{key}' can't be a list, a table or a date")))?;
        let parser = option.get_value_parser().clone();
        // An option of the same kind and alone, so that nothing else of the command line is in the way.
        let alone = Arg::new("value").long(key.to_owned()).value_parser(parser).value_name("VALUE").num_args(1);
        let alone = Command::new("frazil.toml").no_binary_name(true).arg(alone);
        match alone.try_get_matches_from([format!("--{key}={text}")]) {
            Ok(_) => Ok(text),
            Err(error) => Err(self.refuse(at, &reason(key, &error.render()))),
        }
    }

    fn refuse(&self, at: usize, message: &str) -> Error {
        let line = self.text[..at.min(self.text.len())].matches('\n').count() + 1;
        Error::BadInput(format!("{}, line {line}: {message}", self.path.display()))
    }
}

/// What clap says of a value, in a line.
fn reason(key: &str, rendered: &StyledStr) -> String {
    let text = rendered.to_string();
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let line = lines.collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").replace(&format!("'--{key} <VALUE>'"), &format!("'{key}'"))
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Array(_) | DeValue::Table(_) | DeValue::Datetime(_) => None,
    }
}
