// viem 2: public and wallet clients over HTTP and WebSocket.
import assert from 'node:assert/strict'
import {
  BaseError, ContractFunctionExecutionError, ExecutionRevertedError, FeeCapTooLowError, InsufficientFundsError, IntrinsicGasTooLowError, MethodNotFoundRpcError,
  NonceTooLowError, TipAboveFeeCapError, TransactionReceiptNotFoundError, BlockNotFoundError, TransactionNotFoundError,
  createPublicClient, createWalletClient, defineChain, http, keccak256, pad, parseEther, parseTransaction, toRlp, webSocket,
} from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { candidate, registryABI } from './candidate.mjs'
import { checkProof, headerFields } from './proofs.mjs'
import { Suite, failure, missing, networks, registry, setSlots, until } from './suite.mjs'

const suite = new Suite('viem')
const random = () => privateKeyToAccount(generatePrivateKey()).address

for (const network of networks) {
  const check = (title, body) => suite.check(`${network.kind}: ${title}`, body)
  const chain = defineChain({
    id: network.chainId, name: network.kind, nativeCurrency: { name: 'coin', symbol: 'COIN', decimals: 18 },
    rpcUrls: { default: { http: [network.http], webSocket: [network.ws] } },
  })
  const account = privateKeyToAccount(network.accounts[2].privateKey)
  const node = createPublicClient({ chain, transport: http(), pollingInterval: 50, cacheTime: 0 })
  const wallet = createWalletClient({ account, chain, transport: http() })
  const to = random()
  const receiptOf = (hash) => node.waitForTransactionReceipt({ hash, timeout: 20_000 })

  await check('connects', async () => {
    assert.equal(await node.getChainId(), network.chainId)
    assert.ok((await node.getBlockNumber()) >= 1n)
    assert.equal(await node.getCode({ address: to }), undefined)
    assert.deepEqual(await node.getLogs({ address: to, fromBlock: 0n }), [])
  })

  await check('fees', async () => {
    const fees = await node.estimateFeesPerGas()
    const history = await node.getFeeHistory({ blockCount: 1, rewardPercentiles: [50] })
    assert.equal(history.baseFeePerGas.length, 2)
    for (const fee of [fees.maxFeePerGas, await node.getGasPrice(), history.baseFeePerGas[1]]) assert.equal(fee === 0n, network.free)
    assert.equal(await node.estimateGas({ account, to, value: 1n }), 21_000n)
  })

  for (const [type, extra] of [['legacy', {}], ['eip2930', { accessList: [{ address: to, storageKeys: [missing] }] }], ['eip1559', {}]]) {
    await check(`${type} transfer`, async () => {
      const before = await node.getBalance(account)
      const received = await node.getBalance({ address: to })
      const receipt = await receiptOf(await wallet.sendTransaction({ to, value: parseEther('1.5'), type, ...extra }))
      assert.deepEqual([receipt.status, receipt.type, receipt.to], ['success', type, to.toLowerCase()])
      const fee = receipt.gasUsed * receipt.effectiveGasPrice
      assert.equal(fee === 0n, network.free)
      assert.equal(await node.getBalance(account), before - parseEther('1.5') - fee)
      assert.equal(await node.getBalance({ address: to }), received + parseEther('1.5'))
      assert.equal(await node.getBalance({ address: to, blockNumber: receipt.blockNumber - 1n }), received)
      assert.equal((await node.getTransaction({ hash: receipt.transactionHash })).type, type)
    })
  }

  const refused = (name, type, action) => check(`error ${name}`, async () => {
    const e = await failure(action)
    assert.ok(e instanceof BaseError && e.walk((x) => x instanceof type), e)
  })
  await refused('InsufficientFundsError', InsufficientFundsError, () => wallet.sendTransaction({ to, value: 10n ** 40n, gas: 21_000n }))
  await refused('NonceTooLowError', NonceTooLowError, () => wallet.sendTransaction({ to, value: 1n, nonce: 0 }))
  await refused('IntrinsicGasTooLowError', IntrinsicGasTooLowError, () => wallet.sendTransaction({ to, value: 1n, gas: 20_000n }))
  await refused('TipAboveFeeCapError', TipAboveFeeCapError, () => wallet.sendTransaction({ to, value: 1n, maxFeePerGas: 1n, maxPriorityFeePerGas: 2n }))
  if (!network.free) await refused('FeeCapTooLowError', FeeCapTooLowError, () => node.call({ account, to, maxFeePerGas: 5n, maxPriorityFeePerGas: 1n }))
  await refused('ExecutionRevertedError', ExecutionRevertedError, () => node.estimateGas({ account, to: registry, data: '0x12345678' }))
  await refused('ContractFunctionExecutionError', ContractFunctionExecutionError, () => node.readContract({ address: registry, functionName: 'nope', abi: [{ type: 'function', name: 'nope', inputs: [], outputs: [], stateMutability: 'view' }] }))
  await refused('MethodNotFoundRpcError', MethodNotFoundRpcError, () => node.request({ method: 'eth_nope' }))
  await refused('TransactionReceiptNotFoundError', TransactionReceiptNotFoundError, () => node.getTransactionReceipt({ hash: missing }))
  await refused('TransactionNotFoundError', TransactionNotFoundError, () => node.getTransaction({ hash: missing }))
  await refused('BlockNotFoundError', BlockNotFoundError, () => node.getBlock({ blockNumber: 1_000_000_000n }))

  await check('a signed transaction is the one that is served', async () => {
    const request = await wallet.prepareTransactionRequest({ to, value: 3n, type: 'eip1559' })
    const signed = await wallet.signTransaction(request)
    const receipt = await receiptOf(await node.sendRawTransaction({ serializedTransaction: signed }))
    assert.equal(receipt.transactionHash, keccak256(signed))
    assert.equal(parseTransaction(signed).value, (await node.getTransaction({ hash: receipt.transactionHash })).value)
  })

  await check('batch of 100', async () => {
    const sizes = []
    const batching = createPublicClient({ chain, transport: http(undefined, { batch: { batchSize: 100 }, onFetchRequest: (_, init) => void sizes.push([JSON.parse(init.body)].flat().length) }) })
    const balances = await Promise.all(Array.from({ length: 100 }, (_, i) => batching.getBalance({ address: to, blockNumber: i % 2 ? undefined : 0n })))
    assert.equal(balances.filter((b, i) => (b === 0n) === (i % 2 === 0)).length, 100)
    assert.deepEqual(sizes, [100])
  })

  await check('header hash recomputed', async () => {
    for (const at of ['latest', '0x0', '0x1']) {
      const raw = await node.request({ method: 'eth_getBlockByNumber', params: [at, false] })
      assert.equal(keccak256(toRlp(headerFields(raw))), raw.hash)
    }
  })
  await check('account proofs against the state root', async () => {
    const block = await node.getBlock()
    for (const address of [account.address, to, random()]) {
      const proof = await node.getProof({ address, storageKeys: [], blockNumber: block.number })
      assert.equal(proof.balance, await node.getBalance({ address, blockNumber: block.number }))
      await checkProof(proof, block.stateRoot, address, keccak256)
    }
    const storageKeys = setSlots.map((slot) => pad(slot))
    const proof = await node.getProof({ address: registry, storageKeys, blockNumber: block.number })
    assert.equal(proof.storageProof[1].value, 4n)
    await checkProof(proof, block.stateRoot, registry, keccak256)
  })

  await check('subscriptions over WebSocket', async () => {
    const socket = createPublicClient({ chain, transport: webSocket() })
    const heads = []
    const pending = new Set()
    const errors = []
    const onError = (e) => errors.push(e)
    const stop = [
      socket.watchBlocks({ onBlock: (b) => heads.push(b.number), onError }),
      socket.watchPendingTransactions({ onTransactions: (all) => all.forEach((h) => pending.add(h)), batch: false, onError }),
    ]
    for (let told = false; !told; ) { // the first may come before the subscriptions
      const receipt = await receiptOf(await wallet.sendTransaction({ to, value: 1n }))
      told = await until(() => heads.includes(receipt.blockNumber) && pending.has(receipt.transactionHash), 1000)
    }
    assert.deepEqual(errors, [])
    stop.forEach((f) => f())
  })
  await check('events of the registry over WebSocket', async () => {
    const socket = createPublicClient({ chain, transport: webSocket() })
    const contract = { address: registry, abi: registryABI }
    const who = candidate(network.chainId)
    const told = []
    const errors = []
    const stop = socket.watchContractEvent({ ...contract, eventName: 'Registered', onLogs: (logs) => told.push(...logs), onError: (e) => errors.push(e) })
    assert.equal(await socket.getChainId(), network.chainId) // the subscription was asked for before
    const receipt = await receiptOf(await wallet.writeContract({ ...contract, functionName: 'register', args: who.args }))
    assert.deepEqual([receipt.status, receipt.logs.length], ['success', 1])
    assert.ok(await until(() => told.some((l) => l.transactionHash === receipt.transactionHash), 10_000), errors[0])
    const log = told.find((l) => l.transactionHash === receipt.transactionHash)
    assert.deepEqual([log.args.candidate, log.args.peerId, log.args.name, log.args.number, log.removed], [who.address, who.peerId, who.name, 0n, false])
    const found = await node.getContractEvents({ ...contract, eventName: 'Registered', args: { candidate: who.address }, fromBlock: 0n })
    assert.deepEqual(found.map((l) => l.transactionHash), [receipt.transactionHash])
    assert.deepEqual(await node.readContract({ ...contract, functionName: 'candidate', args: [who.address] }), [true, who.peerId, who.name])
    assert.deepEqual(errors, [])
    stop()
  })
}

suite.end(43)
