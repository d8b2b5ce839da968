//! Manual pages and completions, from the definition of the command line.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::{Command, CommandFactory as _};

use crate::cli::{Cli, CompletionsArguments, ManArguments};
use crate::error::{Error, Finding};

/// Prints the completions of a shell.
///
/// # Errors
/// Standard output cannot be written to.
pub fn completions(arguments: &CompletionsArguments) -> Result<Finding, Error> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "keyferry", &mut script);
    print(&script)
}

/// Prints the manual page, or writes those of all commands.
///
/// # Errors
/// Standard output or the directory cannot be written to.
pub fn man(arguments: &ManArguments) -> Result<Finding, Error> {
    match &arguments.directory {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            print(&page)
        }
        Some(directory) => {
            let refused = |source| Error::Directory { path: directory.clone(), source };
            fs::create_dir_all(directory).map_err(refused)?;
            // Gives the commands their full names, `keyferry journal ls`.
            let mut root = Cli::command().disable_help_subcommand(true);
            root.build();
            write_pages(&root, directory).map_err(refused)?;
            Ok(Finding::Nothing)
        }
    }
}

/// Writes the page of `command` and those below it.
fn write_pages(command: &Command, directory: &Path) -> io::Result<()> {
    clap_mangen::Man::new(command.clone()).generate_to(directory)?;
    command.get_subcommands().try_for_each(|each| write_pages(each, directory))
}

fn print(text: &[u8]) -> Result<Finding, Error> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()?;
    Ok(Finding::Nothing)
}
