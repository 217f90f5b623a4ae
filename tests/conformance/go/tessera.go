package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"

	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
)

// followLog goes from an earlier checkpoint to the present one, reads all entries and proves many of them.
func followLog(arguments []string) (any, error) {
	ctx := context.Background()
	verifier, err := f_note.NewVerifier(arguments[1])
	if err != nil {
		return nil, err
	}
	prefix, err := url.Parse(arguments[0] + "/")
	if err != nil {
		return nil, err
	}
	fetcher, err := client.NewHTTPFetcher(prefix, http.DefaultClient)
	if err != nil {
		return nil, err
	}
	var old []byte
	if arguments[2] != "-" {
		if old, err = os.ReadFile(arguments[2]); err != nil {
			return nil, err
		}
	}
	consensus := client.UnilateralConsensus(fetcher.ReadCheckpoint)
	tracker, err := client.NewLogStateTracker(ctx, fetcher.ReadTile, old, verifier, verifier.Name(), consensus)
	if err != nil {
		return nil, err
	}
	from := tracker.Latest().Size
	if _, _, _, err := tracker.Update(ctx); err != nil {
		return nil, err
	}
	checkpoint := tracker.Latest()
	entries := sha256.New()
	var leaves [][]byte
	if checkpoint.Size > 0 {
		size := func(context.Context) (uint64, error) { return checkpoint.Size, nil }
		bundles := client.EntryBundles(ctx, 2, size, fetcher.ReadEntryBundle, 0, checkpoint.Size)
		for entry, err := range client.Entries(bundles, splitBundle) {
			if err != nil {
				return nil, err
			}
			entries.Write(entry.Entry)
			leaves = append(leaves, rfc6962.DefaultHasher.HashLeaf(entry.Entry))
		}
	}
	if uint64(len(leaves)) != checkpoint.Size {
		return nil, fmt.Errorf("%d of %d entries came", len(leaves), checkpoint.Size)
	}
	for index := uint64(0); index < checkpoint.Size; index += 1 + checkpoint.Size/50 {
		builder, err := client.NewProofBuilder(ctx, checkpoint.Size, fetcher.ReadTile)
		if err != nil {
			return nil, err
		}
		hashes, err := builder.InclusionProof(ctx, index)
		if err != nil {
			return nil, err
		}
		hasher := rfc6962.DefaultHasher
		if err := proof.VerifyInclusion(hasher, index, checkpoint.Size, leaves[index], hashes, checkpoint.Hash); err != nil {
			return nil, err
		}
	}
	return map[string]any{
		"from": from, "size": checkpoint.Size, "entries": hex.EncodeToString(entries.Sum(nil)),
	}, nil
}

func splitBundle(data []byte) ([][]byte, error) {
	bundle := api.EntryBundle{}
	err := bundle.UnmarshalText(data)
	return bundle.Entries, err
}
