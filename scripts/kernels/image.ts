/**
 * The initramfs that a virtual machine runs from: this machine's Node.js and tools with their libraries, busybox for the
 * rest, the checkout, and the kernel's modules. There is no disk and no network device.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Kernel } from "./packages.ts";
import type { Step } from "./transcript.ts";

/** Where the checkout lies in the virtual machine. */
const PROJECT = "/tsbpf";

/** Taken from this machine where it has them; busybox has most of them, too, but with fewer options. */
const TOOLS = words(`
  node ip tc bpftool ping taskset nsenter ethtool mount umount unshare setpriv sysctl ps modprobe
`);

const DIRECTORIES = words("bin dev etc proc run sys tmp usr/bin usr/sbin var");

/** Of the checkout, everything but what is large and never runs there. */
const LEFT_OUT = words(`
  .git dist coverage docs/api
  node_modules/@biomejs node_modules/@shikijs node_modules/typedoc node_modules/typescript
`);

/** The modules that networking may ask for; the rest is drivers. */
const MODULES = words(`
  kernel/net kernel/lib kernel/crypto kernel/arch
  kernel/drivers/net/veth.ko kernel/drivers/net/dummy.ko kernel/drivers/net/ifb.ko kernel/drivers/net/tun.ko
`);
const MODULE_FILES = words("modules.builtin modules.builtin.modinfo modules.order");

/** Writes the part that is the same for every kernel, as a cpio archive. */
export function buildUserland(path: string): void {
  const checkout = fileURLToPath(new URL("../..", import.meta.url));
  withScratch(dirname(path), (root) => {
    for (const directory of DIRECTORIES) mkdirSync(join(root, directory), { recursive: true });
    symlinkSync("usr/sbin", join(root, "sbin"));
    writeFileSync(
      join(root, "etc/passwd"),
      "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    );
    writeFileSync(join(root, "etc/hosts"), "127.0.0.1 localhost\n");
    for (const tool of TOOLS) addTool(root, tool);
    copyFileSync(find("busybox") ?? "", join(root, "bin/busybox"));
    copyFileSync(fileURLToPath(new URL("init.sh", import.meta.url)), join(root, "init"));
    chmodSync(join(root, "init"), 0o755);
    const leftOut = LEFT_OUT.map((name) => join(checkout, name));
    cpSync(checkout, join(root, PROJECT), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (source) => !leftOut.includes(source),
    });
    const packages = join(checkout, "node_modules");
    const names = readdirSync(packages, { recursive: true, encoding: "utf8" });
    for (const name of names.filter((name) => name.endsWith(".node")))
      addLibraries(root, join(packages, name));
    // Compiled here, since every start of tsx costs a minute there.
    const tsc = join(checkout, "node_modules/.bin/tsc");
    const build = ["-p", join(checkout, "tsconfig.build.json"), "--outDir", join(root, PROJECT, "dist")];
    execFileSync(tsc, [
      ...build,
      "--noCheck",
      "--isolatedDeclarations",
      "false",
      "--declaration",
      "false",
      "--declarationMap",
      "false",
    ]);
    pack(root, path);
  });
}

/** Writes the compressed initramfs for one kernel: the userland, the kernel's modules, and the steps for `init.sh`. */
export function buildInitramfs(path: string, userland: string, kernel: Kernel, steps: readonly Step[]): void {
  withScratch(dirname(path), (root) => {
    const modules = join(root, "lib/modules", kernel.release);
    mkdirSync(modules, { recursive: true });
    for (const file of MODULE_FILES) {
      if (existsSync(join(kernel.modules, file)))
        copyFileSync(join(kernel.modules, file), join(modules, file));
    }
    for (const name of MODULES) {
      // Newer kernels ship their modules compressed.
      for (const suffix of ["", ".xz", ".zst"]) {
        const source = join(kernel.modules, name) + suffix;
        if (!existsSync(source)) continue;
        cpSync(source, join(modules, name) + suffix, { recursive: true });
      }
    }
    execFileSync("depmod", ["-b", root, kernel.release], { stdio: ["ignore", "ignore", "ignore"] });
    mkdirSync(join(root, "steps"));
    for (const [index, { name, seconds, script }] of steps.entries()) {
      // The name tells init.sh the order, the time and what to call it.
      writeFileSync(
        join(root, "steps", `${String(index).padStart(2, "0")},${seconds},${name}`),
        `${script}\n`,
      );
    }
    const added = `${path}.cpio`;
    pack(root, added);
    // Archives may follow one another. Level 1, because it is thrown away afterwards.
    shell('cat "$1" "$2" | zstd -q -1 -T0 -f -o "$3" && rm "$2"', userland, added, path);
  });
}

/** Commands that this needs, with the Debian package of each. */
const NEEDED = {
  "qemu-system-x86_64": "qemu-system-x86",
  busybox: "busybox-static",
  depmod: "kmod",
  cpio: "cpio",
  zstd: "zstd",
} as const;

/** @throws Error that says what to install, where a command is missing. */
export function requireCommands(): void {
  const missing = Object.entries(NEEDED).filter(([command]) => find(command) === undefined);
  if (missing.length === 0) return;
  const packages = missing.map(([, name]) => name).join(" ");
  throw new Error(
    `missing: ${missing.map(([command]) => command).join(", ")} (apt-get install --no-install-recommends ${packages})`,
  );
}

/** Copies a program with the libraries that it names; without complaint where this machine has none. */
function addTool(root: string, name: string): void {
  const path = find(name);
  if (path === undefined) return;
  // `ip` and `modprobe` are symlinks here and there: what counts is the name that it is called by.
  copy(root, realpathSync(path), join("usr/bin", name));
  addLibraries(root, path);
}

function addLibraries(root: string, path: string): void {
  for (const [library] of tryRun("ldd", [path]).matchAll(/\/\S+(?= \(0x)/g)) copy(root, library, library);
}

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

function copy(root: string, from: string, to: string): void {
  const target = join(root, to);
  if (existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(realpathSync(from), target);
}

function find(name: string): string | undefined {
  const directories = (process.env["PATH"] ?? "").split(":").concat("/usr/sbin", "/sbin", "/bin");
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

function pack(root: string, path: string): void {
  shell('cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 >"$2"', root, path);
}

function shell(script: string, ...args: readonly string[]): void {
  execFileSync("sh", ["-ec", script, "sh", ...args], { stdio: ["ignore", "ignore", "inherit"] });
}

function tryRun(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return "";
  }
}

function withScratch(parent: string, use: (directory: string) => void): void {
  const scratch = mkdtempSync(join(parent, "image-"));
  try {
    use(scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
