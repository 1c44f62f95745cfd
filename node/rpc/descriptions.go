package rpc

// description says what reflection cannot know of a method.
type description struct {
	summary string
	params  []string // names, in order
}

func described(summary string, params ...string) description {
	return description{summary: summary, params: params}
}

// descriptions has every method and subscription; docs/rpc.md says more.
var descriptions = map[string]description{
	"eth_accounts":                            described("Answers no account: the node holds no keys of wallets."),
	"eth_blockNumber":                         described("Answers the height of the last final block."),
	"eth_call":                                described("Answers nothing: there is no code to execute. The registry reverts.", "call", "block", "stateOverrides", "blockOverrides"),
	"eth_chainId":                             described("Answers the chain id."),
	"eth_createAccessList":                    described("Answers an empty access list and the gas of the call.", "call", "block"),
	"eth_estimateGas":                         described("Answers the intrinsic gas, which is all that a transfer uses.", "call", "block", "stateOverrides", "blockOverrides"),
	"eth_feeHistory":                          described("Answers base fees, fullness and tips of a run of blocks.", "blockCount", "newestBlock", "rewardPercentiles"),
	"eth_gasPrice":                            described("Answers what a legacy transaction should pay for gas."),
	"eth_getBalance":                          described("Answers a balance at any height.", "address", "block"),
	"eth_getBlockByHash":                      described("Answers a final block, or null.", "hash", "fullTransactions"),
	"eth_getBlockByNumber":                    described("Answers a final block, or null.", "block", "fullTransactions"),
	"eth_getBlockReceipts":                    described("Answers the receipts of a final block, or null.", "block"),
	"eth_getBlockTransactionCountByHash":      described("Answers how many transactions a block has, or null.", "hash"),
	"eth_getBlockTransactionCountByNumber":    described("Answers how many transactions a block has, or null.", "block"),
	"eth_getCode":                             described("Answers the code of an account: the registry's alone has any.", "address", "block"),
	"eth_getFilterChanges":                    described("Answers what is new since the last call.", "id"),
	"eth_getFilterLogs":                       described("Answers all logs of a filter's range.", "id"),
	"eth_getHeaderByHash":                     described("Answers a header, or null.", "hash"),
	"eth_getHeaderByNumber":                   described("Answers a header, or null.", "block"),
	"eth_getLogs":                             described("Answers logs of a block or a range.", "query"),
	"eth_getProof":                            described("Answers an EIP-1186 proof against a recent state root.", "address", "storageKeys", "block"),
	"eth_getStorageAt":                        described("Answers a storage slot at any height.", "address", "slot", "block"),
	"eth_getTransactionByBlockHashAndIndex":   described("Answers a transaction of a block, or null.", "hash", "index"),
	"eth_getTransactionByBlockNumberAndIndex": described("Answers a transaction of a block, or null.", "block", "index"),
	"eth_getTransactionByHash":                described("Answers a final or waiting transaction, or null.", "hash"),
	"eth_getTransactionCount":                 described("Answers a nonce at any height; pending counts the pool.", "address", "block"),
	"eth_getTransactionReceipt":               described("Answers the receipt of a final transaction, or null.", "hash"),
	"eth_getUncleCountByBlockHash":            described("Answers 0, or null for an unknown block.", "hash"),
	"eth_getUncleCountByBlockNumber":          described("Answers 0, or null for an unknown block.", "block"),
	"eth_getUncleByBlockHashAndIndex":         described("Answers null: there are no uncles.", "hash", "index"),
	"eth_getUncleByBlockNumberAndIndex":       described("Answers null: there are no uncles.", "block", "index"),
	"eth_maxPriorityFeePerGas":                described("Answers the tip that a transaction should offer."),
	"eth_newBlockFilter":                      described("Makes a filter of new blocks."),
	"eth_newFilter":                           described("Makes a filter of logs.", "query"),
	"eth_newPendingTransactionFilter":         described("Makes a filter of transactions that come into the pool."),
	"eth_sendRawTransaction":                  described("Takes a signed transaction into the pool.", "transaction"),
	"eth_sendRawTransactionSync":              described("Takes a signed transaction and answers its receipt.", "transaction", "timeoutMillis"),
	"eth_syncing":                             described("Answers false, or how far a node that is behind has come."),
	"eth_uninstallFilter":                     described("Forgets a filter.", "id"),
	`eth_subscribe("newHeads")`:               described("Sends the header of every block that becomes final."),
	`eth_subscribe("logs")`:                   described("Sends the logs of every block that becomes final.", "query"),
	`eth_subscribe("newPendingTransactions")`: described("Sends what comes into the pool.", "full"),
	`eth_subscribe("syncing")`:                described("Sends whether the node is behind."),

	"net_listening":      described("Answers true."),
	"net_peerCount":      described("Answers how many peers are connected."),
	"net_version":        described("Answers the chain id in decimal."),
	"web3_clientVersion": described("Names the software."),
	"web3_sha3":          described("Answers keccak256.", "data"),

	"txpool_content":     described("Answers every transaction that waits."),
	"txpool_contentFrom": described("Answers what waits of one sender.", "address"),
	"txpool_inspect":     described("Answers a line about every transaction that waits."),
	"txpool_status":      described("Answers how many transactions wait."),

	"cairn_diagnose":           described("Answers what was looked at and what an operator can do."),
	"cairn_epochs":             described("Answers what leads from the validators of an epoch to those of the next ones.", "from"),
	"cairn_evidence":           described("Answers the votes by which validators contradicted themselves."),
	"cairn_finality":           described("Answers a header, its finalization and the set that signed.", "block"),
	"cairn_history":            described("Answers what happened to an account, newest first.", "address", "cursor", "limit"),
	"cairn_peers":              described("Answers who is connected, by id."),
	"cairn_proof":              described("Answers an account, its proof, the header and its finalization.", "address", "storageKeys", "block"),
	"cairn_receiptProof":       described("Answers what proves a transaction and its receipt, or null.", "hash"),
	"cairn_registry":           described("Answers validators, candidates, open votes, and who is here and in step."),
	"cairn_status":             described("Answers where the node stands and what is wrong."),
	"cairn_transactionStatus":  described("Answers where a transaction is and, if it is not final, why.", "hash"),
	"cairn_validatorChange":    described("Tries a change of the validator set without doing it.", "subject", "add"),
	"cairn_validators":         described("Answers the set that decides about a block.", "block"),
	`cairn_subscribe("drops")`: described("Sends every transaction that leaves the pool without being in a block."),

	"erigon_getHeaderByNumber":           described("Answers a header, or null.", "block"),
	"ots_getApiLevel":                    described("Answers the version of Otterscan's interface."),
	"ots_getBlockDetails":                described("Answers a block without its transactions, and its fees.", "block"),
	"ots_getBlockDetailsByHash":          described("Answers a block without its transactions, and its fees.", "hash"),
	"ots_getBlockTransactions":           described("Answers a page of a block.", "block", "page", "size"),
	"ots_getContractCreator":             described("Answers null.", "address"),
	"ots_getInternalOperations":          described("Answers no operation.", "hash"),
	"ots_getTransactionBySenderAndNonce": described("Answers a transaction's hash, or null.", "address", "nonce"),
	"ots_getTransactionError":            described("Answers no data.", "hash"),
	"ots_hasCode":                        described("Says whether an account has code.", "address", "block"),
	"ots_searchTransactionsAfter":        described("Answers an account's transactions above a height.", "address", "height", "size"),
	"ots_searchTransactionsBefore":       described("Answers an account's transactions below a height.", "address", "height", "size"),
	"ots_traceTransaction":               described("Answers the one call that a transaction is.", "hash"),
	"rpc_discover":                       described("Answers this document."),
}
