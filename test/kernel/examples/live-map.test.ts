import { expect, test } from "vitest";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { expectNoPrograms, interrupt, startExample } from "./harness.ts";

describeKernel("examples/live-map.ts", () => {
  test("addresses are blocked and unblocked while packets come in", async () => {
    await using net = await createTestNet();
    const example = await startExample("live-map", ["eth0"], "ready on eth0, in native mode\n", net);
    const say = async (line: string, answer: string): Promise<void> => {
      example.child.stdin?.write(`${line}\n`);
      await example.waitFor(answer);
    };
    await say("list", "none is blocked\n");
    expect(await net.udpOneWay({ count: 3 })).toMatchObject({ received: 3 });
    await say("block 10.77.0.2", "blocked 10.77.0.2\n");
    expect(await net.sendUdp({ count: 5 })).toEqual({ sent: 5 });
    await say("block 10.77.0.2", "10.77.0.2 is blocked already\n");
    await say("list", "10.77.0.2 dropped 5\n");
    await say("unblock 10.77.0.2", "unblocked 10.77.0.2\n");
    expect(await net.udpOneWay({ count: 3 })).toMatchObject({ received: 3 });
    await say("unblock 10.77.0.2", "10.77.0.2 was not blocked\n");
    await say("block 10.77.0.256", "'10.77.0.256' is not an IPv4 address\n");
    await say("help", "block ADDRESS, unblock ADDRESS, list\n");
    await interrupt(example);
    await expectNoPrograms(net);
  });

  test("the end of the input ends it", async () => {
    await using net = await createTestNet();
    const example = await startExample("live-map", ["eth0"], "ready on eth0", net);
    example.child.stdin?.end("block 10.77.0.9\n");
    expect(await example.ended()).toMatchObject({ code: 0, stderr: "" });
    expect(example.output()).toContain("blocked 10.77.0.9\n");
    await expectNoPrograms(net);
  });
});
