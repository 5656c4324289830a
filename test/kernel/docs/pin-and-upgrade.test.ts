import { existsSync, rmSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { writeBlocks } from "../../docs/page.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { runBlock } from "./support.ts";

const pins = `/sys/fs/bpf/tsbpf-test-upgrade-${process.pid}`;

describeKernel("docs/pin-and-upgrade.md", () => {
  afterEach(() => rmSync(pins, { recursive: true, force: true }));

  test("the next version takes over, and no packet is missed", async () => {
    using page = writeBlocks("docs/pin-and-upgrade.md", (code) => code.replace("/sys/fs/bpf/counter", pins));
    await using net = await createTestNet();
    await runBlock(page.path("install.ts"), ["eth0"], net);
    // It stays without its process.
    const { stdout: shown } = await net.exec("inside", "bpftool", ["net", "show", "dev", "eth0"]);
    expect(shown).toMatch(/eth0\(\d+\) driver id \d+/);

    // Packets come in all the time: 10 for certain before the program is replaced, 10 for certain after it, and 3,000 at
    // the same time as far as they get.
    await net.sendUdp({ count: 10 });
    const sending = net.sendUdp({ count: 3000, burst: 1, intervalMs: 1, timeoutMs: 30_000 });
    const { stdout } = await runBlock(page.path("upgrade.ts"));
    expect(stdout).toMatch(/^program \d+ took over\n$/);
    expect(await sending).toEqual({ sent: 3000 });
    await net.sendUdp({ count: 10 });

    const { stdout: last } = await runBlock(page.path("remove.ts"));
    const [, packets, upgraded] = /^\{ packets: (\d+)n, upgraded: (\d+)n \}\n$/.exec(last) ?? [];
    expect(Number(packets)).toBe(3020);
    expect(Number(upgraded)).toBeGreaterThanOrEqual(10);
    expect(Number(upgraded)).toBeLessThanOrEqual(3010);
    expect(existsSync(pins)).toBe(false);
    const { stdout: left } = await net.exec("inside", "bpftool", ["net", "show", "dev", "eth0"]);
    expect(left).not.toContain("driver");
  });
});
