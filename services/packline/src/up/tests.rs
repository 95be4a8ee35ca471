use super::{
    Settings,
    site::{Ports, Site},
    with_causes,
};

#[test]
fn a_recipe_that_is_missing_or_wrong_is_said_in_one_line_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.toml");
    let recipe = file.to_string_lossy().into_owned();
    let check = |recipe: &str| {
        let recipe = Some(recipe.to_owned());
        let settings =
            Settings { workspace: folder.path().into(), max_concurrent: None, workers: 1, recipe, once: true };
        settings.check_recipe().map_err(|unusable| unusable.to_string())
    };
    assert_eq!(check("none"), Ok(()));
    let line = check(&recipe).unwrap_err();
    assert!(line.starts_with(&format!("--recipe: {recipe} cannot be read as a recipe: No such file")), "{line}");
    std::fs::write(&file, "[[phase]]\nname = 'a'\nrun = ['a']\ntimeout = 'soon'\nretries = 1\n").unwrap();
    let line = check(&recipe).unwrap_err();
    assert!(line.starts_with(&format!("--recipe: {recipe}:4:")) && !line.contains('\n'), "{line}");
    assert!(line.ends_with(&format!("; and 1 more, which `packline recipe check {recipe}` lists")), "{line}");
    std::fs::write(&file, "[[phase]]\nname = 'a'\nrun = ['a']\n").unwrap();
    assert_eq!(check(&recipe), Ok(()));
}

#[test]
fn an_error_is_said_with_its_causes_each_once() {
    let cause = anyhow::anyhow!("disk full");
    assert_eq!(
        with_causes(&cause.context("it failed: disk full").context("no database")),
        "no database: it failed: disk full"
    );
}

#[test]
fn a_workspace_is_held_by_one_at_a_time_and_free_again_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path()).unwrap();
    let error = Site::open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("another `packline up` runs on"), "{error}");
    drop(site);
    Site::open(folder.path()).unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join(".packline/.gitignore")).unwrap(), "*\n");
}

#[test]
fn a_folder_that_is_not_there_is_said_in_one_line() {
    let error = Site::open("/nowhere/at/all".as_ref()).err().unwrap().to_string();
    assert_eq!(
        error,
        "--workspace /nowhere/at/all: No such file or directory (os error 2); it names the folder of a \
         workspace, or of one package"
    );
}

#[tokio::test]
async fn ports_are_kept_and_taken_again_unless_somebody_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path()).unwrap();
    assert_eq!(site.ports().await, Ports::default());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    site.keep_ports(Ports { broker: Some(port), registry: None }).unwrap();
    assert_eq!(site.ports().await, Ports::default(), "somebody has it");
    drop(taken);
    assert_eq!(site.ports().await.broker, Some(port));
    std::fs::write(folder.path().join(".packline/ports.json"), "rubbish").unwrap();
    assert_eq!(site.ports().await, Ports::default());
}
