package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/miltertest"
)

// Mails as people and programs send them pass, also those that are not well-formed in common ways.
func TestOrdinary(t *testing.T) {
	f, _ := startFilter(t)
	files, err := filepath.Glob("testdata/ordinary/*.eml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			mail, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, accepted, f.For(t).Send(miltertest.Mail{Data: string(mail)}).Reply.String())

			attached := multipart("attached", entity("Content-Type: message/rfc822", string(mail)))
			assert.Equal(t, accepted, f.For(t).Send(miltertest.Mail{Data: attached}).Reply.String())
		})
	}
}
