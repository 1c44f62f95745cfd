// web3.js 4: over HTTP, and over WebSocket for subscriptions.
import assert from 'node:assert/strict'
import { hexToBytes } from '@ethereumjs/util'
import {
  ContractExecutionError, InvalidResponseError, TransactionNotFound, TransactionRevertInstructionError, Web3,
} from 'web3'
import { candidate, registryABI } from './candidate.mjs'
import { checkProof, headerFields, rlp } from './proofs.mjs'
import { Suite, failure, missing, networks, registry, setSlots, until } from './suite.mjs'

const suite = new Suite('web3')

for (const network of networks) {
  const check = (title, body) => suite.check(`${network.kind}: ${title}`, body)
  const node = new Web3(network.http)
  node.eth.transactionPollingInterval = 50
  const from = node.eth.accounts.wallet.add(network.accounts[1].privateKey)[0].address
  const to = node.eth.accounts.create().address
  const keccak = (hex) => node.utils.keccak256(hexToBytes(hex))
  const coins = 15n * 10n ** 17n
  // What the node says of a transaction, and not what a call before it says.
  const directly = (tx) => node.eth.sendTransaction(tx, undefined, { checkRevertBeforeSending: false })

  await check('connects', async () => {
    assert.equal(await node.eth.getChainId(), BigInt(network.chainId))
    assert.equal(await node.eth.net.getId(), BigInt(network.chainId))
    assert.equal(await node.eth.net.isListening(), true)
    assert.ok((await node.eth.getBlockNumber()) >= 1n)
    assert.equal(await node.eth.isSyncing(), false)
    assert.equal(await node.eth.getCode(to), '0x')
  })

  await check('fees', async () => {
    const fees = await node.eth.calculateFeeData()
    const history = await node.eth.getFeeHistory(1, 'latest', [50])
    assert.equal(history.baseFeePerGas.length, 2)
    for (const fee of [fees.gasPrice, await node.eth.getGasPrice(), history.baseFeePerGas[1]]) assert.equal(fee === 0n, network.free)
    assert.equal(await node.eth.estimateGas({ from, to, value: 1n }), 21_000n)
  })

  // web3 asks for no estimate of a transfer: the gas of an access list is given.
  const gasPrice = await node.eth.getGasPrice()
  for (const [name, type, extra] of [
    ['legacy', 0n, { gasPrice }],
    ['EIP-2930', 1n, { gas: 30_000n, gasPrice, accessList: [{ address: to, storageKeys: [missing] }] }],
    ['EIP-1559', 2n, network.free ? { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n } : {}],
  ]) {
    await check(`${name} transfer`, async () => {
      const before = await node.eth.getBalance(from)
      const received = await node.eth.getBalance(to)
      const receipt = await node.eth.sendTransaction({ from, to, value: coins, type, ...extra })
      assert.deepEqual([receipt.status, receipt.type, receipt.to.toLowerCase()], [1n, type, to.toLowerCase()])
      const fee = receipt.gasUsed * receipt.effectiveGasPrice
      assert.equal(fee === 0n, network.free)
      assert.equal(await node.eth.getBalance(from), before - coins - fee)
      assert.equal(await node.eth.getBalance(to), received + coins)
      assert.equal(await node.eth.getBalance(to, receipt.blockNumber - 1n), received)
      assert.equal((await node.eth.getTransaction(receipt.transactionHash)).type, type)
    })
  }

  const refused = (title, type, text, action) => check(`error ${title}`, async () => {
    const e = await failure(action)
    assert.ok(e instanceof type, e)
    assert.match(`${e.message} ${e.reason} ${e.cause?.message}`, text)
  })
  await refused('TransactionRevertInstructionError of a transfer beyond the balance', TransactionRevertInstructionError, /insufficient funds/, () => node.eth.sendTransaction({ from, to, value: 10n ** 40n, gas: 21_000n }))
  await refused('InvalidResponseError: insufficient funds', InvalidResponseError, /insufficient funds for gas \* price \+ value/, () => directly({ from, to, value: 10n ** 40n, gas: 21_000n }))
  await refused('InvalidResponseError: nonce too low', InvalidResponseError, /nonce too low/, () => directly({ from, to, value: 1n, nonce: 0n, gas: 21_000n }))
  await refused('ContractExecutionError of a call', ContractExecutionError, /no such method/, () => node.eth.call({ to: registry, data: '0x12345678' }))
  await refused('ContractExecutionError of an estimate', ContractExecutionError, /no such method/, () => node.eth.estimateGas({ from, to: registry, data: '0x12345678' }))
  await refused('InvalidResponseError of an unknown method', InvalidResponseError, /does not exist/, () => node.requestManager.send({ method: 'eth_nope', params: [] }))
  await refused('TransactionNotFound of a transaction', TransactionNotFound, /not found/, () => node.eth.getTransaction(missing))
  await refused('TransactionNotFound of a receipt', TransactionNotFound, /not found/, () => node.eth.getTransactionReceipt(missing))
  await check('a block that is not there is null', async () => assert.equal(await node.eth.getBlock(1_000_000_000), null))

  await check('batch of 100', async () => {
    const batch = new node.BatchRequest()
    const balances = Array.from({ length: 100 }, (_, i) => batch.add({ method: 'eth_getBalance', params: [to, i % 2 ? 'latest' : '0x0'] }))
    assert.equal((await batch.execute({ timeout: 20_000 })).length, 100)
    assert.equal((await Promise.all(balances)).filter((b, i) => (BigInt(b) === 0n) === (i % 2 === 0)).length, 100)
  })

  await check('header hash recomputed', async () => {
    for (const at of ['latest', '0x0', '0x1']) {
      const raw = await node.requestManager.send({ method: 'eth_getBlockByNumber', params: [at, false] })
      assert.equal(keccak(rlp(headerFields(raw))), raw.hash)
    }
  })
  await check('account proofs against the state root', async () => {
    const block = await node.eth.getBlock()
    for (const address of [from, to, node.eth.accounts.create().address]) {
      const proof = await node.eth.getProof(address, [], block.number)
      assert.equal(proof.balance, await node.eth.getBalance(address, block.number))
      await checkProof(proof, block.stateRoot, address, keccak)
    }
    const proof = await node.eth.getProof(registry, setSlots.map((slot) => node.utils.padLeft(slot, 64)), block.number)
    assert.equal(BigInt(proof.storageProof[1].value), 4n)
    await checkProof(proof, block.stateRoot, registry, keccak)
  })

  await check('subscriptions over WebSocket', async () => {
    const socket = new Web3(network.ws)
    const heads = []
    const pending = new Set()
    const blocks = await socket.eth.subscribe('newBlockHeaders')
    blocks.on('data', (head) => heads.push(head.number))
    const transactions = await socket.eth.subscribe('pendingTransactions')
    transactions.on('data', (hash) => pending.add(hash))
    const receipt = await node.eth.sendTransaction({ from, to, value: 1n, type: 0n, gasPrice })
    assert.ok(await until(() => heads.includes(receipt.blockNumber) && pending.has(receipt.transactionHash), 10_000))
    assert.deepEqual(heads, Array.from(heads, (_, i) => heads[0] + BigInt(i))) // none is skipped
    await blocks.unsubscribe()
    await transactions.unsubscribe()
    socket.provider.disconnect()
  })
  await check('events of the registry over WebSocket', async () => {
    const socket = new Web3(network.ws)
    const who = candidate(network.chainId)
    const told = []
    const watched = new socket.eth.Contract(registryABI, registry)
    const events = watched.events.Registered({ filter: { candidate: who.address } })
    events.on('data', (event) => told.push(event))
    const all = []
    const logs = await socket.eth.subscribe('logs', { address: registry })
    logs.on('data', (log) => all.push(log))
    const contract = new node.eth.Contract(registryABI, registry)
    const receipt = await contract.methods.register(...who.args).send({ from, type: '0x0', gasPrice: String(gasPrice) })
    assert.ok(await until(() => told.length > 0 && all.some((l) => l.transactionHash === receipt.transactionHash), 10_000))
    assert.deepEqual([told.length, told[0].transactionHash, told[0].returnValues.peerId], [1, receipt.transactionHash, who.peerId])
    const found = await contract.getPastEvents('Registered', { filter: { candidate: who.address }, fromBlock: 0n })
    assert.deepEqual(found.map((e) => e.transactionHash), [receipt.transactionHash])
    await logs.unsubscribe()
    socket.provider.disconnect()
  })
}

suite.end(38)
