package main

import (
	"fmt"
	"io"
	"os"

	"cairn/wallet"

	"github.com/urfave/cli/v2"
)

// validatorReport sends the newest evidence against SUBJECT to the registry,
// after it was checked here.
func (t *terminal) validatorReport(c *cli.Context) error {
	var kept []*wallet.Evidence
	var err error
	path := c.String("evidence")
	if path != "" {
		if kept, err = readEvidence(path); err != nil {
			return err
		}
	}
	ch, err := t.begin(c, "report")
	if err != nil {
		return err
	}
	defer ch.client.Close()
	source := path
	if path == "" {
		source = "the node"
		if kept, err = ch.client.Evidence(c.Context); err != nil {
			return err
		}
	}
	evidence := wallet.Latest(kept, ch.subject)
	if evidence == nil {
		return fmt.Errorf("%w: %s has no evidence against %s", wallet.ErrNotFound, source, ch.subject.Hex())
	}
	status, err := ch.client.Status(c.Context)
	if err != nil {
		return err
	}
	if err := evidence.Check(uint64(status.ChainID), status.GenesisHash); err != nil {
		return fmt.Errorf("%s of epoch %d, view %d: %w", ch.subject.Hex(), evidence.Epoch, evidence.View, err)
	}
	return ch.send(c, evidence.ReportCall())
}

func readEvidence(path string) ([]*wallet.Evidence, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, wallet.MaxEvidenceBytes+1))
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	kept, err := wallet.ParseEvidence(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return kept, nil
}
