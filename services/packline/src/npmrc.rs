//! Which registries npm is set to in a workspace, and what opens them.

use std::path::Path;

use anyhow::Context;
use packline_local::registry::{Credentials, Uplinks, Upstream};
use packline_npm::{Authorization, Environment, Settings};
use packline_service::Unusable;

/// The registries that npm is set to in this workspace.
///
/// # Errors
/// [`Unusable`] when a file of npm's settings cannot be read, or names a registry that is no address.
pub(crate) async fn uplinks(workspace: &Path) -> anyhow::Result<Uplinks> {
    let workspace = workspace.to_owned();
    let read = move || read(&workspace, Environment::of_this_process());
    Ok(tokio::task::spawn_blocking(read).await.context("reading npm's settings was broken off")??)
}

/// The same as variables, from which npm reads them. What opens them is not among them.
pub(crate) fn variables(uplinks: &Uplinks) -> Vec<(String, String)> {
    let of_scope = |(scope, upstream): (&String, &Upstream)| (format!("{scope}:registry"), upstream.url.clone());
    let settings = uplinks.scopes.iter().map(of_scope).chain([("registry".to_owned(), uplinks.others.url.clone())]);
    settings.map(|(key, url)| (format!("npm_config_{key}"), url)).collect()
}

fn read(workspace: &Path, environment: Environment) -> Result<Uplinks, Unusable> {
    let settings = Settings::read_in(workspace, environment).map_err(|error| Unusable(error.to_string()))?;
    let scopes = settings.scopes().into_iter().map(|scope| {
        let key = format!("{scope}:registry");
        Ok((scope.to_owned(), upstream(&settings, &key, &settings.registry(Some(scope)))?))
    });
    let scopes = scopes.collect::<Result<_, Unusable>>()?;
    let others = upstream(&settings, "registry", &settings.registry(None))?;
    Ok(Uplinks { scopes, others })
}

/// The registry that a setting names, without the user and password that may be in its address.
fn upstream(settings: &Settings, key: &str, url: &str) -> Result<Upstream, Unusable> {
    let access = settings.access(url).map_err(|error| Unusable(error.to_string()))?;
    let url = access.registry().to_owned();
    if !reqwest::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        let shown = url.rsplit_once('@').map_or(url.clone(), |(_, host)| format!("***@{host}"));
        return Err(Unusable(format!(
            "npm's setting `{key}` is `{}`, which is no address such as https://registry.example.com/npm",
            shown.escape_debug()
        )));
    }
    let credentials = access.authorization().map(|authorization| match authorization {
        Authorization::Bearer(token) => Credentials::Bearer(token.clone()),
        Authorization::Basic(both) => Credentials::Basic(both.clone()),
    });
    Ok(Upstream { url, credentials })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What these files of the user and of the workspace make of the registries.
    fn uplinks(variables: &[(&str, &str)], user: &str, project: &str) -> Result<Uplinks, String> {
        let place = tempfile::tempdir().unwrap();
        let (home, workspace) = (place.path().join("home"), place.path().join("workspace"));
        for (folder, text) in [(&home, user), (&workspace, project)] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(".npmrc"), text).unwrap();
        }
        let fixed = [("HOME", home.to_str().unwrap()), ("PREFIX", "/nowhere")];
        let variables = variables.iter().chain(&fixed).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment::new(variables, place.path().to_owned());
        read(&workspace, environment).map_err(|unusable| unusable.0)
    }

    #[test]
    fn a_registry_is_opened_by_what_is_set_for_it_or_for_a_folder_above() {
        let user = "registry=https://user.example/\n\
            //a.example/:_authToken=${TOKEN}\n\
            //b.example/npm/ours/:_auth = \"dXNlcjpwYXNz\"\n\
            //c.example:8080/:_authToken=${UNSET}\n\
            //d.example/:always-auth=true\n\
            //e.example/:username=user\n\
            //e.example/:_password=cGFzcw==\n";
        let bearer = |token: &str| Some(Credentials::Bearer(token.to_owned()));
        let basic = || Some(Credentials::Basic("dXNlcjpwYXNz".to_owned()));
        for (url, opened_by) in [
            ("https://a.example/", bearer("abc")),
            ("https://a.example", bearer("abc")),
            ("https://a.example/deeper/down/", bearer("abc")),
            ("http://b.example/npm/ours/", basic()),
            ("http://b.example/npm/", None),
            ("http://c.example:8080/", bearer("${UNSET}")),
            ("http://c.example/", None),
            ("https://d.example/", None),
            ("https://e.example/", basic()),
        ] {
            let project = format!("registry={url}\n@corp:registry={url}");
            let uplinks = uplinks(&[("TOKEN", "abc")], user, &project).unwrap();
            let expected = Upstream { url: url.trim_end_matches('/').to_owned(), credentials: opened_by };
            assert_eq!(uplinks.others, expected);
            assert_eq!(uplinks.scopes, [("@corp".to_owned(), expected)].into());
        }
    }

    #[test]
    fn the_nearest_registry_counts_and_a_password_in_its_address_is_not_shown() {
        let user = "registry=https://user.example/\n@user:registry=https://me:hush@own.example/npm/";
        let of = |variables: &[(&str, &str)], project: &str| uplinks(variables, user, project).unwrap().to_string();
        let scope = "@user from https://own.example/npm";
        assert_eq!(of(&[], ""), format!("https://user.example, {scope}"));
        assert_eq!(of(&[], "registry=https://project.example"), format!("https://project.example, {scope}"));
        let variable = [("npm_config_registry", "http://variable.example")];
        assert_eq!(of(&variable, "registry=https://project.example"), format!("http://variable.example, {scope}"));
        let own = uplinks(&[], user, "").unwrap().scopes.remove("@user").unwrap();
        assert_eq!(own.credentials, Some(Credentials::Basic("bWU6aHVzaA==".to_owned())));
        assert_eq!(uplinks(&[], "", "").unwrap().to_string(), packline_npm::DEFAULT_REGISTRY);
    }

    #[test]
    fn a_registry_that_is_no_address_is_named_with_its_setting() {
        for (project, key, url) in [
            ("registry=ftp://h.example", "registry", "ftp://h.example"),
            ("@corp:registry=${CORP}", "@corp:registry", "${CORP}"),
            ("@corp:registry=corp.example", "@corp:registry", "corp.example"),
            ("@corp:registry=me:hush@corp.example", "@corp:registry", "***@corp.example"),
        ] {
            let says = format!(
                "npm's setting `{key}` is `{url}`, which is no address such as https://registry.example.com/npm"
            );
            assert_eq!(uplinks(&[], "", project).unwrap_err(), says);
        }
    }

    #[test]
    fn variables_name_the_same_registries_and_no_secret() {
        let project = "registry=https://h.example/\n@corp:registry=https://me:hush@c.example/npm/\n\
            //h.example/:_authToken=hush";
        let passed = variables(&uplinks(&[], "", project).unwrap());
        let passed: Vec<_> = passed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (corp, others) = ("npm_config_@corp:registry", "npm_config_registry");
        assert_eq!(passed, [(corp, "https://c.example/npm"), (others, "https://h.example")]);
        let read_again = uplinks(&passed, "", "").unwrap();
        assert_eq!(read_again.to_string(), "https://h.example, @corp from https://c.example/npm");
    }

    #[test]
    fn settings_that_cannot_be_read_are_one_line() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join(".npmrc");
        fs::create_dir(&file).unwrap();
        let environment = Environment::new([("HOME".to_owned(), "/nowhere".to_owned())], "/".into());
        let says = read(place.path(), environment).unwrap_err().0;
        let expected = format!("npm's project settings {} cannot be read: ", file.display());
        assert!(says.starts_with(&expected) && !says.contains('\n'), "{says}");
    }
}
