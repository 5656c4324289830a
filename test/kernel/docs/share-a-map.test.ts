import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { ROOT, writeBlocks } from "../../docs/page.ts";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { runBlock, startBlock } from "./support.ts";

const PAGE = "docs/share-a-map.md";
const pin = `/sys/fs/bpf/tsbpf-test-share-${process.pid}`;

describeKernel(PAGE, () => {
  afterEach(() => rmSync(pin, { force: true }));

  test("two programs and another process share the map", async () => {
    using page = writeBlocks(PAGE, (code) => code.replace("/sys/fs/bpf/packet_counts", pin));
    await using net = await createTestNet();
    const running = await startBlock(page.path("count.ts"), ["eth0"], "counting on eth0\n", net);
    expect(await net.ping({ count: 2 })).toMatchObject({ received: 2 });
    expect(await net.udpOneWay({ count: 2 })).toMatchObject({ received: 2 });

    const dump = execFileSync("bpftool", ["map", "dump", "pinned", pin], { encoding: "utf8" });
    expect(JSON.parse(dump)).toEqual([{ key: 0, value: { received: 4, sent: 2 } }]);
    expect(readFileSync(join(ROOT, PAGE), "utf8")).toContain(`packet_counts\n${dump}`);

    const { stdout } = await runBlock(page.path("show.ts"), ["--reset"]);
    expect(stdout).toBe("4 received, 2 sent\n");
    expect((await runBlock(page.path("show.ts"))).stdout).toBe("0 received, 0 sent\n");
    expect(await running.stop("SIGINT")).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(pin)).toBe(false);
  });

  test("variables of a program", async () => {
    using page = writeBlocks(PAGE);
    await using net = await createTestNet();
    const ready = "dropping frames of more than 200 bytes\n";
    const running = await startBlock(page.path("limit.ts"), ["eth0", "200"], ready, net);
    expect(await net.ping({ count: 2 })).toMatchObject({ received: 2 });
    expect(await net.sendUdp({ count: 3, size: 500 })).toMatchObject({ sent: 3 });
    await running.waitFor("2 passed, 3 dropped\n");
    expect(await running.stop("SIGINT")).toMatchObject({ code: 0, stderr: "" });
  });
});
