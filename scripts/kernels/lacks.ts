/** A test that older kernels cannot pass, because they lack what it is about. */
interface Lack {
  /** The first kernel that has it. */
  readonly since: string;
  readonly what: string;
  /** Matches the names of the tests, `file > suite > test`. */
  readonly tests: RegExp;
}

const LACKS: readonly Lack[] = [
  {
    since: "5.14",
    what: "looking up and deleting in a hash map in one call",
    tests: /bpf\.test\.ts > .* > update, look up, walk, delete$/,
  },
  {
    since: "5.15",
    what: "CPU maps in generic XDP",
    tests: /modes\.test\.ts > .*generic/,
  },
  {
    since: "5.18",
    what: "XDP packets of several buffers",
    tests: /unless the program takes fragments$|packets of several buffers$/,
  },
  {
    since: "6.4",
    what: "netfilter links",
    tests: /network\.test\.ts > .* > a netfilter link$/,
  },
  {
    since: "6.6",
    what: "TCX",
    tests: /tc\.test\.ts > TC > .*(?:tcx|TCX|bpftool|auto takes)|(?:network|modes)\.test\.ts > .*(?:tcx|TCX)/,
  },
];

/** Why a kernel of this release fails this test, where it is known to lack what the test is about. */
export function lackOf(release: string, test: string): string | undefined {
  const lack = LACKS.find(({ since, tests }) => tests.test(test) && isBefore(release, since));
  return lack && `${lack.what} came with ${lack.since}`;
}

function isBefore(release: string, version: string): boolean {
  const [major = 0, minor = 0] = release.split(/[^0-9]/).map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = version.split(".").map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}
