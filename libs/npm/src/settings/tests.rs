use std::collections::BTreeMap;

use super::*;

/// Settings as these variables and files make them.
pub(crate) fn settings(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Settings {
    let files: BTreeMap<PathBuf, String> =
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    let home = ("HOME".to_owned(), "/home/u".to_owned());
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let environment = Environment::new(variables.chain([home]), "/work".into());
    Settings::read_by(environment, &|path| Ok(files.get(path).cloned())).unwrap()
}

/// The same in the project `/project`.
fn in_project(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Settings {
    let outside = settings(variables, &[]);
    let files: BTreeMap<PathBuf, String> =
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    let read = |path: &Path| Ok(files.get(path).cloned());
    Settings::read_in_by(Path::new("/project"), outside.environment, &read).unwrap()
}

#[test]
fn what_is_nearer_counts_more() {
    let variable = [("npm_config_registry", "https://variable.example/"), ("PREFIX", "/usr/local")];
    let user = ("/home/u/.npmrc", "registry=https://user.example");
    let global = ("/usr/local/etc/npmrc", "registry=https://global.example/\n@acme:registry=https://acme.example/npm/");
    assert_eq!(settings(&variable, &[user, global]).registry(None), "https://variable.example");
    assert_eq!(settings(&variable[1..], &[user, global]).registry(None), "https://user.example");
    assert_eq!(settings(&variable[1..], &[global]).registry(None), "https://global.example");
    assert_eq!(settings(&variable[1..], &[]).registry(None), DEFAULT_REGISTRY);
    let all = settings(&variable, &[user, global]);
    assert_eq!(all.registry(Some("@acme")), "https://acme.example/npm");
    assert_eq!(all.registry(Some("acme")), "https://acme.example/npm");
    assert_eq!(all.registry(Some("@other")), "https://variable.example");
}

#[test]
fn a_projects_file_counts_more_than_the_users_and_less_than_variables() {
    let project = ("/project/.npmrc", "registry=https://project.example\n@acme:registry=https://acme.example");
    let user = ("/home/u/.npmrc", "registry=https://user.example\n@user:registry=https://own.example");
    let files = [project, user];
    let all = in_project(&[], &files);
    assert_eq!(all.registry(None), "https://project.example");
    assert_eq!(all.registry(Some("@acme")), "https://acme.example");
    assert_eq!(all.registry(Some("@user")), "https://own.example");
    assert_eq!(all.scopes(), BTreeSet::from(["@acme", "@user"]));
    let variable = [("npm_config_registry", "https://variable.example")];
    assert_eq!(in_project(&variable, &files).registry(None), "https://variable.example");
    assert_eq!(settings(&[], &files).registry(None), "https://user.example", "outside of it");
    let unset = [("/project/.npmrc", "@acme:registry=\n@no:other=x"), ("/home/u/.npmrc", "@acme:registry=https://a.b")];
    assert_eq!(in_project(&[], &unset[..1]).scopes(), BTreeSet::new());
    assert_eq!(in_project(&[], &unset).scopes(), BTreeSet::new(), "what hides a registry is none");
}

#[test]
fn a_projects_file_names_other_files_and_is_read_once_and_not_for_what_is_global() {
    let named = [
        ("/project/.npmrc", "userconfig=./user\nglobalconfig=/global"),
        ("/project/user", "@user:registry=https://user.example"),
        ("/global", "@global:registry=https://global.example"),
    ];
    assert_eq!(in_project(&[], &named).scopes(), BTreeSet::from(["@global", "@user"]));
    for global in [("npm_config_global", "true"), ("npm_config_location", "global")] {
        assert_eq!(in_project(&[global], &named).scopes(), BTreeSet::new(), "{global:?}");
    }
    let home = [("/project/.npmrc", "ca[]=one")];
    let of_user = in_project(&[("npm_config_userconfig", "/project/.npmrc")], &home);
    assert_eq!(of_user.rising().count(), 2, "the variable, and the file once");
}

#[test]
fn variables_are_named_as_npm_names_them() {
    for (name, key) in [
        ("npm_config_strict_ssl", "strict-ssl"),
        ("NPM_CONFIG_STRICT_SSL", "strict-ssl"),
        ("Npm_Config_@acme:registry", "@acme:registry"),
        ("npm_config__auth", "_auth"),
        ("npm_config_//Host/a_b/:_authToken", "//Host/a_b/:_authToken"),
    ] {
        assert_eq!(settings(&[(name, "x")], &[]).value(key), Some(&Value::Text("x".into())), "{name}");
    }
    let text = |variables: &[(&str, &str)]| settings(variables, &[("/home/u/.npmrc", "cafile=/f")]).text("cafile");
    assert_eq!(text(&[("npm_config_cafile", "")]).as_deref(), Some("/f"), "an empty one sets nothing");
    assert_eq!(text(&[("npm_config_cafile", "/1"), ("NPM_CONFIG_CAFILE", "/2")]).as_deref(), Some("/2"));
}

#[test]
fn files_are_where_settings_say() {
    let files = [
        ("/home/u/mine", "registry=https://mine.example\nprefix=~/npm"),
        ("/work/near", "registry=https://near.example\nglobalconfig=/etc/global"),
        ("/home/u/npm/etc/npmrc", "scope=acme\n@acme:registry=https://acme.example"),
        ("/etc/global", "@acme:registry=https://global.example"),
    ];
    let of = |path: &str| settings(&[("npm_config_userconfig", path)], &files);
    assert_eq!(of("~/mine").registry(Some("@acme")), "https://acme.example");
    assert_eq!(of("~/mine").registry(None), "https://acme.example", "of the scope that is set");
    assert_eq!(of("near").registry(None), "https://near.example");
    assert_eq!(of("near").registry(Some("@acme")), "https://global.example");
    let prefixed = settings(&[("npm_config_prefix", "/home/u/npm")], &files);
    assert_eq!(prefixed.registry(Some("@acme")), "https://acme.example");
    let named = settings(&[("NPM_CONFIG_GLOBALCONFIG", "/etc/global")], &files);
    assert_eq!(named.registry(Some("@acme")), "https://global.example");
}

#[test]
fn what_npm_would_not_take_is_as_if_it_were_not_set() {
    let of = |user: &str| {
        let files = [("/home/u/.npmrc", user), ("/p/etc/npmrc", "registry=https://global.example")];
        settings(&[("PREFIX", "/p"), ("HOST", "h.example")], &files).registry(Some("@acme"))
    };
    for nothing in ["[registry]", "@acme:registry=", "@acme:registry=null", "; registry=x", "=x"] {
        assert_eq!(of(nothing), "https://global.example", "{nothing}");
    }
    for (nonsense, shown) in [("registry=nonsense", "nonsense"), ("registry", "true"), ("registry=null", "")] {
        assert_eq!(of(nonsense), shown, "npm fails, too");
    }
    assert_eq!(of("registry=https://${HOST}/"), "https://h.example");
    assert_eq!(of("@acme:registry=https://${HOST}/${NONE?}"), "https://h.example");
    assert_eq!(of("@acme:registry=https://a.example\n@acme:registry=https://b.example"), "https://b.example");
}

#[test]
fn a_file_that_cannot_be_read_is_said_in_one_line() {
    let variables = [("HOME".to_owned(), "/home/u".to_owned())];
    let environment = Environment::new(variables, "/work".into());
    let refused = |path: &Path| match path.ends_with(".npmrc") {
        true => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        false => Ok(None),
    };
    let error = Settings::read_by(environment.clone(), &refused).err().unwrap();
    assert_eq!(error.to_string(), "npm's user settings /home/u/.npmrc cannot be read: permission denied");
    let error = Settings::read_in_by(Path::new("/project"), environment, &refused).err().unwrap();
    assert_eq!(error.to_string(), "npm's project settings /project/.npmrc cannot be read: permission denied");
}
