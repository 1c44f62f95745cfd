package main

import (
	"errors"
	"fmt"
	"strconv"

	"cairn/crypto"
	"cairn/wallet"

	"github.com/urfave/cli/v2"
)

// errUnsafe is the kind of a change of the validator set that is not asked for.
var errUnsafe = errors.New("unsafe change of the validators")

func (t *terminal) validatorCommand() *cli.Command {
	force := &cli.BoolFlag{Name: "force", Usage: "vote even if the network may stop", DisableDefaultText: true}
	return &cli.Command{
		Name:  "validator",
		Usage: "the validators of the network, and changes of them",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "show validators and candidates, and votes on them", Aliases: []string{"ls"},
				Flags: []cli.Flag{rpcFlag(), jsonFlag()}, Action: action(t.validatorList),
			},
			{
				Name: "status", Usage: "show how many validators may fail, and what is voted on",
				Flags: []cli.Flag{rpcFlag(), jsonFlag()}, Action: action(t.validatorStatus),
			},
			{
				Name: "register", Usage: "make a key a candidate; FROM pays", ArgsUsage: "FROM",
				Description: "The candidate's key signs who it is: peer id and name. 'cairnd key show' prints the\n" +
					"peer id. A second registration replaces what the first one said.",
				Flags: append(transactionFlags(),
					&cli.StringFlag{Name: "validator-key", Usage: "`FILE` of the candidate's key, validator.key in its node's home", Required: true},
					&cli.StringFlag{
						Name: "validator-password-file", EnvVars: []string{"CAIRN_KEY_PASSWORD_FILE"},
						Usage: "the password of an encrypted --validator-key is the first line of `FILE`",
					},
					&cli.StringFlag{Name: "peer-id", Usage: "libp2p `ID` of the candidate's node", Required: true},
					&cli.StringFlag{Name: "name", Usage: "`NAME` for people: a to z, 0 to 9 and -", Required: true}),
				Action: action(t.validatorRegister),
			},
			{
				Name: "withdraw", Usage: "take FROM, which is a candidate, off the list", ArgsUsage: "FROM",
				Flags: transactionFlags(), Action: action(t.validatorWithdraw),
			},
			{
				Name: "vote", Usage: "vote to add a candidate or to remove a validator", ArgsUsage: "FROM SUBJECT",
				Description: "FROM is a validator's account in the key store. First the change is tried without\n" +
					"doing it; it is refused if too few of the new validators are online, in step\n" +
					"and fit to sign for the network to go on. With a quorum of votes it happens at once.",
				Flags: append(transactionFlags(), force,
					&cli.BoolFlag{Name: "add", Usage: "add SUBJECT", DisableDefaultText: true},
					&cli.BoolFlag{Name: "remove", Usage: "remove SUBJECT", DisableDefaultText: true},
					&cli.BoolFlag{Name: "dry-run", Usage: "only show what the change would do", DisableDefaultText: true}),
				Action: action(t.validatorVote),
			},
			{
				Name: "report", Usage: "report two votes by which SUBJECT contradicted itself; FROM pays", ArgsUsage: "FROM SUBJECT",
				Description: "The votes are what the node has kept as evidence, or a file with what cairn_evidence\n" +
					"answers; they are checked before anything is sent. On a network whose genesis says\n" +
					"removeEquivocators, SUBJECT leaves the validators with their next change.",
				Flags: append(transactionFlags(),
					&cli.StringFlag{Name: "evidence", Usage: "`FILE` of evidence in place of what the node has kept"}),
				Action: action(t.validatorReport),
			},
			{
				Name: "revoke", Usage: "take back FROM's vote on SUBJECT", ArgsUsage: "FROM SUBJECT",
				Flags: transactionFlags(), Action: action(t.validatorRevoke),
			},
		},
	}
}

type memberJSON struct {
	Address crypto.Address   `json:"address"`
	PeerID  string           `json:"peerId"`
	Name    string           `json:"name"`
	Online  *bool            `json:"online"`
	Height  *uint64          `json:"height"`
	Synced  *bool            `json:"synced"`
	Signs   *bool            `json:"signs"`
	Votes   []crypto.Address `json:"votes"`

	Convicted bool `json:"convicted"`
}

func membersJSON(list []wallet.Member) []memberJSON {
	out := make([]memberJSON, len(list))
	for i, m := range list {
		out[i] = memberJSON(m)
	}
	return out
}

type validatorListJSON struct {
	Height         uint64       `json:"height"`
	Epoch          uint64       `json:"epoch"`
	Quorum         int          `json:"quorum"`
	SetHash        crypto.Hash  `json:"validatorSetHash"`
	Validators     []memberJSON `json:"validators"`
	Candidates     []memberJSON `json:"candidates"`
	CandidateCount uint64       `json:"candidateCount"`
}

func registry(c *cli.Context) (*wallet.Registry, error) {
	client, err := dial(c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Registry(c.Context)
}

func (t *terminal) validatorList(c *cli.Context) error {
	r, err := registry(c)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return t.showJSON(validatorListJSON{
			r.Height, r.Epoch, r.Quorum, r.SetHash, membersJSON(r.Validators), membersJSON(r.Candidates), r.Registered,
		})
	}
	rows := [][]string{{"NAME", "ADDRESS", "ROLE", "ONLINE", "HEIGHT", "VOTES"}}
	for _, m := range r.Validators {
		rows = append(rows, memberRow(m, validatorRole(m), voteCount(m, "remove", r.Quorum)))
	}
	for _, m := range r.Candidates {
		rows = append(rows, memberRow(m, "candidate", voteCount(m, "add", r.Quorum)))
	}
	if more := r.Registered - min(r.Registered, uint64(len(r.Candidates))); more > 0 {
		fmt.Fprintf(t.stderr, "%d more candidates are not shown\n", more)
	}
	return t.table(rows)
}

func validatorRole(m wallet.Member) string {
	if m.Convicted {
		return "convicted" // a validator until the next change
	}
	return "validator"
}

func memberRow(m wallet.Member, role, votes string) []string {
	height := "?"
	if m.Height != nil {
		height = strconv.FormatUint(*m.Height, 10)
	}
	online := "?"
	if m.Online != nil {
		online = yesNo(*m.Online)
	}
	if m.Online != nil && *m.Online && m.Synced != nil && !*m.Synced {
		online = "behind"
	}
	if online == "yes" && m.Signs != nil && !*m.Signs {
		online = "silent" // it observes, has halted, or has no room on its disk
	}
	return []string{m.Name, m.Address.Hex(), role, online, height, votes}
}

func voteCount(m wallet.Member, change string, quorum int) string {
	if len(m.Votes) == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d to %s", len(m.Votes), quorum, change)
}

type openVoteJSON struct {
	Address crypto.Address   `json:"address"`
	Name    string           `json:"name"`
	Change  string           `json:"change"` // add or remove
	Votes   []crypto.Address `json:"votes"`
}

type validatorStatusJSON struct {
	Height     uint64           `json:"height"`
	Epoch      uint64           `json:"epoch"`
	Validators int              `json:"validators"`
	Quorum     int              `json:"quorum"`
	Online     *int             `json:"online"`
	Synced     *int             `json:"synced"`
	Spare      *int             `json:"spare"` // that may still fail before the network stops
	Candidates uint64           `json:"candidates"`
	OpenVotes  []openVoteJSON   `json:"openVotes"`
	Convicted  []crypto.Address `json:"convicted"` // validators that leave with the next change
}

func (t *terminal) validatorStatus(c *cli.Context) error {
	r, err := registry(c)
	if err != nil {
		return err
	}
	data := validatorStatusJSON{
		Height: r.Height, Epoch: r.Epoch, Validators: len(r.Validators), Quorum: r.Quorum,
		Candidates: r.Registered, OpenVotes: []openVoteJSON{}, Convicted: []crypto.Address{},
	}
	seen := "the node cannot tell who is online"
	if online, synced, ok := countOnline(r.Validators); ok {
		fit := countFit(r.Validators)
		spare := fit - r.Quorum
		data.Online, data.Synced, data.Spare = &online, &synced, &spare
		means := fmt.Sprintf("%d more may fail", spare)
		if spare < 0 {
			means = "NO QUORUM, nothing becomes final"
		}
		seen = fmt.Sprintf("%d online, %d in step, %d of them fit to sign: %s", online, synced, fit, means)
	}
	rows := []row{
		{"height", fmt.Sprint(r.Height)},
		{"epoch", fmt.Sprint(r.Epoch)},
		{"validators", fmt.Sprintf("%d, quorum %d", len(r.Validators), r.Quorum)},
		{"seen by node", seen},
		{"candidates", fmt.Sprint(r.Registered)},
	}
	open := func(list []wallet.Member, change string) {
		for _, m := range list {
			if len(m.Votes) > 0 {
				data.OpenVotes = append(data.OpenVotes, openVoteJSON{m.Address, m.Name, change, m.Votes})
				rows = append(rows, row{"open vote", fmt.Sprintf("%s %s  %s", voteCount(m, change, r.Quorum), m.Name, m.Address.Hex())})
			}
		}
	}
	for _, m := range r.Validators {
		if m.Convicted {
			data.Convicted = append(data.Convicted, m.Address)
			rows = append(rows, row{"convicted", fmt.Sprintf("leaves with the next change: %s  %s", m.Name, m.Address.Hex())})
		}
	}
	open(r.Candidates, "add")
	open(r.Validators, "remove")
	return t.show(c, data, rows...)
}

// countOnline sums up who is there; not ok if the node cannot tell.
func countOnline(list []wallet.Member) (online, synced int, ok bool) {
	for _, m := range list {
		if m.Online == nil || m.Synced == nil {
			return 0, 0, false
		}
		if *m.Online {
			online++
		}
		if *m.Synced {
			synced++
		}
	}
	return online, synced, true
}

// countFit is how many count for a quorum: in step and, as far as the node can
// tell, neither observing nor halted nor without room on the disk.
func countFit(list []wallet.Member) (n int) {
	for _, m := range list {
		if m.Synced != nil && *m.Synced && (m.Signs == nil || *m.Signs) {
			n++
		}
	}
	return n
}
