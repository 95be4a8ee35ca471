// One workspace's controls, Packline's run and the registry's packages beside each other.

const STABLE = (first, second) => Object.keys(first).filter((path) => first[path].sha256 === second[path]?.sha256);

/** What `mine` has more, less and other than `theirs`; bytes are compared of the files in `stable` alone. */
export function difference(mine, theirs, stable) {
  const more = Object.keys(mine).filter((path) => !(path in theirs));
  const less = Object.keys(theirs).filter((path) => !(path in mine));
  const other = stable.filter((path) => path in mine && mine[path].sha256 !== theirs[path]?.sha256);
  const modes = stable.filter((path) => path in mine && mine[path].executable !== theirs[path]?.executable);
  return { more, less, other, modes, sameList: more.length + less.length === 0, sameBytes: other.length === 0 };
}

/** One record for each public package. */
export function compare(controls, packline, registry) {
  const [first, second] = controls.runs.map((run) => run.packages ?? {});
  return Object.keys(first ?? {}).map((name) => {
    const [one, two] = [first[name], second?.[name]];
    const passes = Boolean(one.passed && two?.passed);
    const failed = [one, two].find((each) => each && !each.passed);
    const stable = passes ? STABLE(one.files, two.files) : [];
    const ours = packline?.packages[name];
    const theirs = registry?.packages[name]?.files;
    return {
      name,
      test: one.test,
      passes,
      flaky: Boolean(one.passed) !== Boolean(two?.passed),
      failed,
      unstable: passes ? Object.keys(one.files).length - stable.length : 0,
      ours,
      difference: passes && ours?.published ? difference(ours.files, one.files, stable) : undefined,
      control: passes && theirs ? difference(one.files, theirs, stable) : undefined,
      registry: ours?.published && theirs ? difference(ours.files, theirs, []) : undefined,
      absent: Boolean(registry?.packages[name]?.absent),
    };
  });
}
