use super::site::{Ports, Site};

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
        "--workspace /nowhere/at/all: No such file or directory (os error 2); it names the folder whose \
         package.json has `workspaces`"
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
