/**
 * Debian's cloud kernels, fetched with the machine's own apt: mirror, keys and proxies are the machine's, while sources,
 * lists and downloads are private, in the cache. Nothing is installed.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

/** A kernel that lies unpacked in the cache. */
export interface Kernel {
  /** As `uname -r` prints it, such as `6.12.107+deb13-cloud-amd64`. */
  readonly release: string;
  /** Path of the image to boot. */
  readonly image: string;
  /** The directory with its modules: `kernel/`, `modules.builtin` and so on. */
  readonly modules: string;
}

/** The suites that are looked through: each has kernels that no other has. */
const SUITES = ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid"];

/** Lists older than this are fetched again. */
const LISTS_MS = 24 * 60 * 60 * 1000;

/** Newest release of each wanted version, such as `6.1`; throws an Error for a version that no suite has. */
export function findReleases(versions: readonly string[], cache: string): readonly string[] {
  const apt = privateApt(cache);
  const names = apt("apt-cache", ["search", "--names-only", "^linux-image-[0-9].*-cloud-amd64$"]).split("\n");
  const releases = names.map((line) => line.split(" ", 1)[0]?.replace("linux-image-", "") ?? "");
  return versions.map((version) => {
    const release = newestRelease(version, releases);
    if (release !== undefined) return release;
    throw new Error(`no cloud kernel ${version} in ${SUITES.join(", ")}; there are ${offered(releases)}`);
  });
}

/** The newest of the releases whose version starts with these numbers: `7.2` takes 7.2.13, not 7.20. */
export function newestRelease(version: string, releases: readonly string[]): string | undefined {
  return releases
    .filter((release) => release === version || /^[^0-9]/.test(release.slice(version.length)))
    .filter((release) => release.startsWith(version))
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
    .at(-1);
}

/** Downloads and unpacks a kernel into the cache, unless it is there. */
export function fetchKernel(release: string, cache: string): Kernel {
  const home = join(cache, release);
  if (!existsSync(home)) {
    const apt = privateApt(cache);
    const scratch = mkdtempSync(join(cache, "unpack-"));
    try {
      // Up to 6.x one package holds everything; later image and modules are packages that the first one depends on.
      const known = new Set(
        apt("apt-cache", ["search", "--names-only", release.replaceAll(/[+.]/g, "\\$&")]).split(/\s/),
      );
      const parts = ["image", "binary", "modules"].map((part) => `linux-${part}-${release}`);
      apt("apt-get", ["-qq", "download", ...parts.filter((name) => known.has(name))], scratch);
      for (const file of readdirSync(scratch).filter((name) => name.endsWith(".deb"))) {
        execFileSync("dpkg-deb", ["-x", join(scratch, file), join(scratch, "root")]);
      }
      renameSync(join(scratch, "root"), home);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
  return {
    release,
    image: firstOf(
      join(home, "boot", `vmlinuz-${release}`),
      join(home, "usr/lib/modules", release, "vmlinuz"),
    ),
    modules: firstOf(join(home, "usr/lib/modules", release), join(home, "lib/modules", release)),
  };
}

type Apt = (command: "apt-get" | "apt-cache", args: readonly string[], directory?: string) => string;

/** apt with sources, lists and cache of its own. Lists are fetched once a day. */
function privateApt(cache: string): Apt {
  const home = join(cache, "apt");
  const lists = join(home, "lists");
  const sources = join(home, "sources.list");
  const options = [
    `Dir::State::lists=${lists}`,
    `Dir::Cache=${join(home, "cache")}`,
    `Dir::Etc::sourcelist=${sources}`,
    "Dir::Etc::sourceparts=-",
    // Root's umask or home may keep apt's own user out of the cache.
    "APT::Sandbox::User=root",
    "APT::Update::Post-Invoke-Success=",
    "APT::Update::Error-Mode=any",
    "Acquire::Languages=none",
    // A suite that is not supported any more stays as it was.
    "Acquire::Check-Valid-Until=false",
  ].flatMap((option) => ["-o", option]);
  const apt: Apt = (command, args, directory) =>
    execFileSync(command, [...options, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
      cwd: directory,
    });
  if (!existsSync(sources) || Date.now() - statSync(sources).mtimeMs > LISTS_MS) {
    mkdirSync(join(lists, "partial"), { recursive: true });
    mkdirSync(join(home, "cache/archives/partial"), { recursive: true });
    const entry = `[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${debianMirror()}`;
    const text = SUITES.map((suite) => `deb ${entry} ${suite} main\n`).join("");
    writeFileSync(sources, text);
    try {
      apt("apt-get", ["-qq", "update"]);
    } catch (error) {
      rmSync(sources);
      throw error;
    }
  }
  return apt;
}

/** Where this machine gets Debian from. */
function debianMirror(): string {
  const format = "$(REPO_URI) $(LABEL) $(COMPONENT) $(CREATED_BY)";
  const targets = execFileSync("apt-get", ["indextargets", "--format", format], { encoding: "utf8" }).split(
    "\n",
  );
  const mirror = targets
    .map((line) => line.split(" "))
    .find((words) => words.slice(1).join(" ") === "Debian main Packages");
  if (mirror?.[0] !== undefined) return mirror[0];
  throw new Error("apt knows no Debian mirror here: run apt-get update first (Debian only)");
}

/** The versions there are, as `5.10, 6.1, ...`. */
function offered(releases: readonly string[]): string {
  const versions = new Set(releases.map((release) => /^\d+\.\d+/.exec(release)?.[0] ?? "").filter(Boolean));
  return [...versions].sort((a, b) => a.localeCompare(b, "en", { numeric: true })).join(", ");
}

function firstOf(...paths: readonly string[]): string {
  const found = paths.find((path) => existsSync(path));
  if (found === undefined) throw new Error(`none of these is in the kernel's packages: ${paths.join(", ")}`);
  return found;
}
