//! Packages with real scripts, for one test each.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

/// A package of a fixture workspace.
#[derive(Clone, Debug)]
pub struct Fixture {
    name: String,
    dependencies: Vec<String>,
    scripts: Map<String, Value>,
    manifest: Map<String, Value>,
    files: Vec<(String, String)>,
}

impl Fixture {
    /// `@acme/<name>` at version 1.0.0, with no scripts: it is installed, packed and published.
    pub fn new(name: &str) -> Self {
        Self::unscoped(&format!("@acme/{name}"))
    }

    /// The same under the name that is given.
    pub fn unscoped(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            dependencies: Vec::new(),
            scripts: Map::new(),
            manifest: Map::new(),
            files: Vec::new(),
        }
    }

    /// It needs `@acme/<dependency>`.
    #[must_use]
    pub fn needs(mut self, dependency: &str) -> Self {
        self.dependencies.push(format!("@acme/{dependency}"));
        self
    }

    /// A script of `package.json`.
    #[must_use]
    pub fn script(mut self, name: &str, command: &str) -> Self {
        self.scripts.insert(name.to_owned(), command.into());
        self
    }

    /// Another field of `package.json`.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.manifest.insert(name.to_owned(), value);
        self
    }

    /// A file in its folder.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Its build stops at the gate.
    #[must_use]
    pub fn stops_at(self, gate: &Gate) -> Self {
        let command = gate.command();
        self.script("build", &command)
    }

    /// Its name as npm writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes it below `workspace`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, workspace: &Path) -> anyhow::Result<()> {
        let unscoped = self.name.rsplit('/').next().unwrap_or(&self.name);
        let folder = workspace.join("packages").join(unscoped);
        fs::create_dir_all(&folder)?;
        let dependencies: Map<String, Value> =
            self.dependencies.iter().map(|name| (name.clone(), "^1.0.0".into())).collect();
        let mut manifest = json!({
            "name": self.name, "version": "1.0.0", "description": "A fixture.", "license": "MIT",
            "main": "index.js", "dependencies": dependencies, "scripts": self.scripts,
        });
        if let Some(fields) = manifest.as_object_mut() {
            fields.extend(self.manifest.clone());
        }
        fs::write(folder.join("package.json"), serde_json::to_vec_pretty(&manifest)?)?;
        fs::write(folder.join("index.js"), format!("module.exports = {:?};\n", self.name))?;
        for (name, text) in &self.files {
            fs::write(folder.join(name), text)?;
        }
        Ok(())
    }
}

/// Where a build stops until the test opens it; the build leaves a mark when it gets there.
#[derive(Debug)]
pub struct Gate {
    folder: tempfile::TempDir,
}

impl Gate {
    /// A closed gate.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn closed() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("packline-gate-").tempdir()?;
        fs::write(
            folder.path().join("wait.js"),
            "const fs = require('fs');\n\
             process.on('SIGTERM', () => {});\n\
             fs.appendFileSync(`${__dirname}/reached`, `${process.env.BUILD_ID}\\n`);\n\
             const look = () => fs.existsSync(`${__dirname}/open`) || setTimeout(look, 20);\n\
             look();\n",
        )?;
        Ok(Self { folder })
    }

    /// The command that stops at this gate. It ignores SIGTERM.
    pub fn command(&self) -> String {
        format!("node {}", self.folder.path().join("wait.js").display())
    }

    /// Lets all through, now and later.
    ///
    /// # Errors
    /// When the folder is gone.
    pub fn open(&self) -> anyhow::Result<()> {
        Ok(fs::write(self.folder.path().join("open"), "")?)
    }

    /// The builds that got here so far, in order.
    pub fn reached(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("reached")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
