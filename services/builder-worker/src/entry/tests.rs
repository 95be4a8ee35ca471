use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Files, Findings, check};

fn found<const N: usize>(manifest: &Value, files: [(&str, &str); N]) -> Findings {
    check(manifest, &Files::from(files))
}

/// What is missing in a package with these files, each with some code.
fn missing(manifest: &Value, files: &[&str]) -> Vec<String> {
    let mut listed = Files::default();
    for file in files {
        listed.add((*file).to_owned(), Some(b"1".to_vec()));
    }
    check(manifest, &listed).missing.into_iter().map(|missing| format!("{}: {}", missing.by, missing.file)).collect()
}

/// One line a case: a manifest, the files of the tarball, what is missing.
type Table<'a> = &'a [(Value, &'a [&'a str], &'a [&'a str])];

fn holds(table: Table<'_>) {
    for (manifest, files, expected) in table {
        assert_eq!(missing(manifest, files), *expected, "{manifest} with {files:?}");
    }
}

#[test]
fn main_is_found_as_node_finds_it() {
    holds(&[
        (json!({}), &[], &[]),
        (json!({"types": "index.d.ts"}), &["package.json"], &[]),
        (json!({"style": "a.css"}), &["a.css"], &[]),
        (json!({"main": ""}), &["index.d.ts"], &[]),
        (json!({"main": 7}), &[], &[]),
        (json!({"main": ["a.js"]}), &[], &[]),
        (json!({"main": "a.js"}), &["a.js"], &[]),
        (json!({"main": "./a"}), &["a.js"], &[]),
        (json!({"main": "a"}), &["a.json"], &[]),
        (json!({"main": "a"}), &["a.node"], &[]),
        (json!({"main": "a"}), &["a"], &[]),
        (json!({"main": "a.css"}), &["a.css"], &[]),
        (json!({"main": "a.json"}), &["a.json"], &[]),
        (json!({"main": "lib"}), &["lib/index.js"], &[]),
        (json!({"main": "lib/"}), &["lib/index.json"], &[]),
        (json!({"main": "./lib/../a.js"}), &["a.js"], &[]),
        (json!({"main": "/a.js"}), &["a.js"], &[]),
        (json!({"main": ".\\lib\\a.js"}), &["lib/a.js"], &[]),
        (json!({"main": "./"}), &["index.js"], &[]),
        (json!({"main": "."}), &["index.node"], &[]),
        (json!({"main": "."}), &["a.js"], &["main: index.js"]),
        (json!({"main": "dist/a.js"}), &["dist/a.d.ts", "dist/a.js.map"], &["main: dist/a.js"]),
        (json!({"main": "dist"}), &["dist/index.d.ts", "dist/a.js"], &["main: dist"]),
        (json!({"main": "a"}), &["ab.js", "a/b.js"], &["main: a"]),
        (json!({"main": "A.js"}), &["a.js"], &["main: A.js"]),
        // Node takes the index of the package where what `main` names is not there.
        (json!({"main": "dist/a.js"}), &["index.js"], &[]),
        // For bundlers, or for one kind of phone.
        (json!({"main": "src/index"}), &["src/index.tsx"], &[]),
        (json!({"main": "src/a"}), &["src/a.ios.js", "src/a.android.js"], &[]),
        // Made where it is installed.
        (json!({"main": "build/Release/a.node"}), &["binding.gyp"], &[]),
        (json!({"main": "a.node", "scripts": {"install": "x"}}), &[], &[]),
        (json!({"main": "a.js", "scripts": {"postinstall": "x"}}), &[], &["main: a.js"]),
        (json!({"main": "dist/a.js"}), &["binding.gyp"], &["main: dist/a.js"]),
    ]);
}

#[test]
fn bins_are_there_and_have_code() {
    holds(&[
        (json!({"bin": "cli.js"}), &["cli.js"], &[]),
        (json!({"bin": "./cli"}), &["cli"], &[]),
        (json!({"bin": "cli"}), &["cli.js"], &["bin: cli"]),
        (json!({"bin": {"a": "a.js", "b": "b.js"}}), &["a.js"], &["bin.b: b.js"]),
        (json!({"bin": {"a": "", "b": 7}}), &[], &[]),
        (json!({"bin": ["a.js"]}), &[], &[]),
        (json!({"bin": "bin"}), &["bin/a.js"], &[]),
        (json!({"bin": "tool", "scripts": {"postinstall": "fetch"}}), &[], &[]),
        (json!({"bin": "tool.js", "scripts": {"postinstall": "fetch"}}), &[], &["bin: tool.js"]),
        (json!({"directories": {"bin": "bin"}}), &[], &[]),
    ]);
    let blank = |text| !found(&json!({"bin": "cli"}), [("cli", text)]).missing.is_empty();
    for nothing in ["", "#!/usr/bin/env node", "#!/usr/bin/env node\n", "#!/usr/bin/env node\r\n\n \n"] {
        assert!(blank(nothing), "{nothing:?}");
    }
    for code in ["require('x')", "#!/bin/sh\nexit 0", "\u{7f}ELF"] {
        assert!(!blank(code), "{code:?}");
    }
}

#[test]
fn of_exports_what_node_loads_is_demanded() {
    holds(&[
        (json!({"exports": "./a.js"}), &["a.js"], &[]),
        (json!({"exports": "./a.js"}), &[], &["exports: a.js"]),
        (json!({"exports": "./a"}), &["a.js"], &["exports: a"]),
        (json!({"exports": null}), &[], &[]),
        (json!({"exports": {}}), &[], &[]),
        (json!({"exports": {".": "./a.js"}}), &[], &["exports[\".\"]: a.js"]),
        (json!({"exports": {".": null, "./b": "./b.js"}}), &[], &[]),
        (json!({"exports": {"import": "./a.mjs", "require": "./a.cjs"}}), &["a.mjs"], &["exports.require: a.cjs"]),
        (json!({"exports": {"node": "./a.js"}}), &[], &["exports.node: a.js"]),
        (json!({"exports": {"default": "./a.js"}}), &[], &["exports.default: a.js"]),
        (
            json!({"exports": {".": {"import": {"types": "./a.d.ts", "default": "./a.mjs"}}}}),
            &[],
            &["exports[\".\"].import.default: a.mjs"],
        ),
        (json!({"exports": {"types": "./a.d.ts", "browser": "./b.js", "deno": "./c.ts"}}), &[], &[]),
        (json!({"exports": {"browser": {"import": "./b.js", "default": "./b.js"}}}), &[], &[]),
        (json!({"exports": {"development": "./src/a.ts", "worker": {"default": "./w.js"}}}), &[], &[]),
        (json!({"exports": {"./package.json": "./package.json", "./*": "./lib/*.js"}}), &[], &[]),
        (json!({"exports": {".": ["./a.js", "./b.js"]}}), &["b.js"], &[]),
        (json!({"exports": {".": ["./a.js", null]}}), &[], &["exports[\".\"]: a.js"]),
        (json!({"exports": {".": [{"import": "./a.js"}, "./b.js"]}}), &[], &["exports[\".\"].import: a.js"]),
        (json!({"exports": {".": []}}), &[], &[]),
        (json!({"exports": "another"}), &[], &[]),
        (json!({"exports": {".": "./lib/*.js"}}), &[], &[]),
        (json!({"exports": "./a.js", "main": "b.js"}), &["a.js"], &["main: b.js"]),
    ]);
}

#[test]
fn all_else_that_is_named_is_a_warning() {
    let manifest = json!({
        "module": "m.js", "types": "t.d.ts", "typings": "u.d.ts", "browser": {"a": "./b.js", "fs": false, "c": "other"},
        "unpkg": "p.js", "jsdelivr": "j.js", "style": "s.css", "man": ["m.1"], "directories": {"bin": "bins"},
        "files": ["lib", "*.css", "x*z", "!lib/test", "[", "."],
        "exports": {"./sub": "./sub.js", "./all/*": "./all/*.js", ".": {"browser": "./e.js"}, "./x": "x"},
    });
    let findings = found(&manifest, [("package.json", "{}"), ("x/y/z", "")]);
    assert_eq!(findings.missing, []);
    let warnings = findings.warnings.join("\n");
    for named in [
        "m.js", "t.d.ts", "u.d.ts", "b.js", "p.js", "j.js", "s.css", "m.1", "bins", "lib", "*.css", "sub.js",
        "all/*.js", "e.js", "names x,", "x*z",
    ] {
        assert!(warnings.contains(named), "{named} in {warnings}");
    }
    assert_eq!(findings.warnings.len(), 16, "{warnings}");

    let files = [
        ("m.js", "1"),
        ("t.d.ts", ""),
        ("u/index.d.ts", ""),
        ("b.js", "1"),
        ("p.js", "1"),
        ("j.js", "1"),
        ("s.css", ""),
        ("m.1", ""),
        ("bins/x", "1"),
        ("lib/deep/a.js", "1"),
        ("sub.js", "1"),
        ("all/one.js", "1"),
        ("e.js", "1"),
    ];
    let manifest = json!({
        "module": "m", "types": "./t", "typings": "u", "browser": "b.js", "unpkg": "p.js", "jsdelivr": "j.js",
        "style": "s.css", "man": "m.1", "directories": {"bin": "./bins"}, "files": ["lib/", "/lib/**/*.js", "./*.css"],
        "exports": {"./sub": "./sub.js", "./all/*": "./all/*.js", ".": {"browser": "./e.js"}, "./lib/": "./lib/"},
    });
    assert_eq!(found(&manifest, files), Findings::default());
}

#[test]
fn what_an_entry_loads_at_once_is_demanded() {
    let lacks = |file: &str, text: &str| {
        let findings = found(&json!({"main": file}), [(file, text)]);
        findings.missing.into_iter().map(|missing| missing.file).collect::<Vec<_>>()
    };
    for text in [
        "require('./x')",
        "const x = require(\"./x\")",
        "module.exports = exports = require('./x')",
        "#!/usr/bin/env node\n'use strict';\nvar a = 1, x = require('./x').y(2)",
        "__exportStar(require('./x'), exports)",
        "const { a } = tslib.__importDefault(require(/* c */ './x')).default",
        "module.exports = { a: require('./x'), b() {} }",
        "module.exports = [...require('./x')]",
        "new (require('./x'))(1)",
        "(0, require('./x').run)()",
        "a = 1 + require('./x')",
        "require('./x') || require('./y')",
        "require('./x')?.y(require('./z'))",
        "require('./x') ? require('./y') : require('./z')",
        "import './x'",
        "import a, { b as c } from './x'",
        "import type from './x'",
        "import a from 'a'\nimport './x'\nexport const b = 1",
        "import * as x from './x' with { type: 'json' }",
        "export * from './x'",
        "export { default } from './x'",
        "export const x = require('./x')",
        "export default require('./x')",
        "if (a) { throw 1 } require('./x')",
        "throw 1; import './x'",
        "require('./sub/../x')",
        "if (a) { b() } else { c() }\nrequire('./x')",
        "const a = b || c\nconst x = require('./x')",
        "export default function () { require('./y') }\nexport * from './x'",
        "class A { b() { require('./y') } } require('./x')",
        "let t = `'${ `}` + '`' }\\``; require('./x')",
        "var __i = (this && this.__i) || function (m) { return m }; __i(require('./x'))",
        "let a = b / c; let d = '/'; require('./x')",
        "let r = /'[/']/; require('./x')",
        "\u{feff}require('./x')",
        "// require('./a')\n/* require('./b') */ let r = /require('.\\/c')/, s = \"require('./d')\"; require('./x')",
    ] {
        assert_eq!(lacks("a.js", text), ["x"], "{text}");
    }
    for text in [
        "require('x'); import 'y'; import fs from 'node:fs'",
        "function f() { require('./x') }",
        "const f = () => require('./x')",
        "(function () { require('./x') })()",
        "class A { static b = require('./x') }",
        "try { require('./x') } catch {}",
        "if (a) require('./x')",
        "if (a)\n  require('./x')",
        "if (a) b = {}, require('./x')",
        "if (a) {} else require('./x')",
        "if (a) {} else if (b) {} else {\nrequire('./x')\n}",
        "do { } while (require('./x'))",
        "label: while (a) require('./x')",
        "const f = () =>\nrequire('./x')",
        "const f = a ?\nrequire('./x') : 0",
        "exports.a = { b() { return require('./x') }, get c() { return require('./x') } }",
        "const { a = require('./x') } = b",
        "const f = function (a = require('./x')) {}",
        "const f = async (a = require('./x')) => a",
        "require('./x'); (",
        "require('./x'); ]",
        "(function (require) { require('./x') })(require)",
        "var s = \"a\\\nrequire('./x')\\\n\"",
        "let t = `\nrequire('./x')\n`",
        "/*\nrequire('./x')\n*/",
        "require('./x'",
        "import './x",
        "for (;;) require('./x')",
        "{ require('./x') }",
        "switch (a) { case 1: require('./x') }",
        "a && require('./x')",
        "a ?? require('./x')",
        "a ||= require('./x')",
        "a?.b(require('./x'))",
        "a ? require('./x') : 0",
        "require(`./x`)",
        "require('./' + x)",
        "require('./\\x78')",
        "require('./x', y)",
        "require(['./x'])",
        "require.resolve('./x')",
        "other.require('./x')",
        "import('./x')",
        "import type { A } from './x'; import typeof B from './x'; export type { C } from './x'",
        "await import('./x')",
        "const require = createRequire('/elsewhere'); require('./x')",
        "import { require } from 'y'; require('./x')",
        "function require() {} require('./x')",
        "require = require('esm')(module); require('./x')",
        "if (a) { return } require('./x')",
        "return; require('./x')",
        "throw 1; require('./x')",
        "import './x.css?inline'; import './y#z'; require('./loader!./x')",
        "require('../outside')",
        "don't; require('./x')",
    ] {
        assert_eq!(lacks("a.js", text), [] as [&str; 0], "{text}");
    }
    for file in ["a.css", "a.json", "a.ts", "a.node"] {
        assert_eq!(lacks(file, "require('./x')"), [] as [&str; 0], "{file}");
    }
}

#[test]
fn what_is_loaded_is_found_as_node_or_a_bundler_finds_it() {
    let lacks = |loaded: &str, file: &str| {
        let text = format!("require('{loaded}')");
        let findings = found(&json!({"main": "lib/a.js"}), [("lib/a.js", text.as_str()), (file, "")]);
        (findings.missing.len(), findings.warnings.len())
    };
    for (loaded, file) in [
        ("./x", "lib/x.js"),
        ("./x", "lib/x.json"),
        ("./x.js", "lib/x.js"),
        ("./x", "lib/x/index.js"),
        ("./x/", "lib/x/index.js"),
        ("../x", "x.js"),
        ("..", "index.js"),
        (".", "lib/index.js"),
        ("./x", "lib/x"),
    ] {
        assert_eq!(lacks(loaded, file), (0, 0), "{loaded} by {file}");
    }
    for (loaded, file) in [("./x", "lib/x.ts"), ("./x", "lib/x.ios.js"), ("./x", "lib/x/index.tsx")] {
        assert_eq!(lacks(loaded, file), (0, 1), "{loaded} by {file}");
    }
    for (loaded, file) in [("./x", "x.js"), ("./x", "lib/x.d.ts"), ("./x.js", "lib/x.js.map"), ("./x", "lib/xy.js")] {
        assert_eq!(lacks(loaded, file), (1, 0), "{loaded} by {file}");
    }
    let files = [("a.js", "require('./x')"), ("x/package.json", r#"{"main": "y"}"#), ("x/y.js", "")];
    assert_eq!(found(&json!({"main": "a.js"}), files), Findings::default());
    for manifest in [json!({"bin": {"c": "cli"}}), json!({"exports": {".": {"import": "./cli"}}})] {
        let findings = found(&manifest, [("cli", "#!/usr/bin/env node\nrequire('./x')")]);
        assert_eq!(findings.missing.len(), 1, "{manifest}");
    }
    let other = found(&json!({"exports": {"./other": "./o.js"}}), [("o.js", "require('./x')")]);
    assert_eq!(other.missing, []);
}

#[test]
fn hostile_scripts_end_neither_the_stack_nor_the_day() {
    // Milliseconds each; what looks at everything again and again takes minutes.
    let began = Instant::now();
    let parts =
        ["(", "[", "{a:", "!", "a=>", "if(1)", "`${", "f(", "-", "import a\n", "export {a\n", "import {", "require\n"];
    for part in parts {
        let text = format!("{}\nrequire('./x')", part.repeat(1024 * 1024 / part.len() - 20));
        let _ = found(&json!({"main": "a.js"}), [("a.js", text.as_str())]);
    }
    let mut many = Files::default();
    (0..50_000).for_each(|n| many.add(format!("a/{n}.js"), None));
    let stars: serde_json::Map<String, Value> = (0..5_000).map(|n| (format!("./{n}"), "./a/*.mjs".into())).collect();
    let listed: Vec<String> = (0..1_000).map(|n| format!("b{n}")).collect();
    let findings = check(&json!({"exports": stars, "files": listed}), &many);
    assert_eq!(findings.missing, [], "what was not looked at counts as there");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let nested = format!("require('./x');{}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(found(&json!({"main": "a.js"}), [("a.js", nested.as_str())]).missing.len(), 1);
}

#[test]
fn with_too_many_files_nothing_is_demanded() {
    let mut files = Files::default();
    for n in 0..40 {
        files.add(format!("{n}{}", "x".repeat(1024 * 1024)), None);
    }
    let findings = check(&json!({"main": "a.js"}), &files);
    assert_eq!((findings.missing.len(), findings.warnings.len()), (0, 1), "{findings:?}");
    let mut files = Files::default();
    let script = vec![b'1'; 1024 * 1024];
    let kept = (0..40).filter(|n| {
        let wanted = files.wants("a.js", script.len() as u64, &script);
        files.add(format!("{n}.js"), wanted.map(|_| script.clone()));
        wanted.is_some()
    });
    assert_eq!(kept.count(), 32, "MiB are kept");
}

#[test]
fn a_refusal_names_the_files_and_the_fields() {
    let findings = found(&json!({"main": "dist/a.js", "exports": {".": "./dist/a.js"}}), [("package.json", "{}")]);
    let right = "build it in \"build\" or \"prepublishOnly\", or name it in \"files\"";
    assert_eq!(
        findings.refusal().unwrap(),
        format!("main and exports[\".\"] name dist/a.js, which is not in the tarball; {right}")
    );
    let bins: serde_json::Map<String, Value> = (0..7).map(|n| (n.to_string(), format!("{n}.js").into())).collect();
    let refusal = found(&json!({ "bin": bins }), []).refusal().unwrap();
    assert!(refusal.contains("bin.4 names 4.js") && refusal.contains("; and 2 more; build them"), "{refusal}");
    assert!(!refusal.contains("5.js") && !refusal.contains('\n'), "{refusal}");
    let odd = found(&json!({"main": "a\nb\u{1b}"}), []).refusal().unwrap();
    assert!(!odd.contains(['\n', '\u{1b}']), "{odd}");
    assert_eq!(found(&json!({}), []).refusal(), None);
}

#[test]
fn what_was_missing_before_is_forgiven() {
    let mut now = found(&json!({"main": "a.js", "bin": "b.js"}), []);
    now.forgive(&found(&json!({"exports": "./a.js"}), []));
    assert_eq!(now.missing.iter().map(|missing| missing.file.as_str()).collect::<Vec<_>>(), ["b.js"]);
}
