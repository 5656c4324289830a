/** A virtual machine in qemu, emulated in software: it runs anywhere, a good deal slower than the machine itself. */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";

/** What to boot. */
export interface VmOptions {
  readonly image: string;
  /** cpio archives, unpacked one over the other. */
  readonly initramfs: string;
  /** Where the kernel's console goes. */
  readonly consoleLog: string;
  /** Where a copy of the second serial port goes. */
  readonly resultLog: string;
  /** The machine is killed after this time. */
  readonly seconds: number;
  /** Called with what comes over the second serial port. */
  readonly onOutput?: (text: string) => void;
}

/** How a machine ended. */
export interface VmResult {
  /** All that came over the second serial port. */
  readonly output: string;
  readonly killed: boolean;
  /** Wall-clock time, in seconds. */
  readonly seconds: number;
}

const CORES = 2;
const MEGABYTES = 3072;

/**
 * Boots a machine with two cores and no network, and waits until it switches itself off or its time is over. It never
 * outlives this process.
 */
export async function runVm(options: VmOptions): Promise<VmResult> {
  const started = Date.now();
  const child = spawn(
    "qemu-system-x86_64",
    [
      // Not KVM: the results are the same everywhere, also inside a virtual machine that cannot nest.
      ...["-accel", "tcg,thread=multi", "-cpu", "Nehalem,-cx16", "-smp", `${CORES}`, "-m", `${MEGABYTES}`],
      ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"],
      ...["-serial", `file:${options.consoleLog}`, "-serial", "stdio"],
      ...["-kernel", options.image, "-initrd", options.initramfs],
      ...[
        "-append",
        "console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off cryptomgr.notests rdinit=/init",
      ],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const kill = (): void => void child.kill("SIGKILL");
  process.on("exit", kill);
  let killed = false;
  const timer = setTimeout(() => {
    killed = true;
    kill();
  }, options.seconds * 1000);
  const copy = createWriteStream(options.resultLog);
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    copy.write(text);
    options.onOutput?.(text);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", () => resolve());
    });
  } finally {
    clearTimeout(timer);
    process.off("exit", kill);
    copy.end();
  }
  return { output, killed, seconds: (Date.now() - started) / 1000 };
}
