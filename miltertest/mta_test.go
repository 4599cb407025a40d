package miltertest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

func TestWithVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[int]negotiation{
		6: {6, 0x1ff, 0x1fffff}, 5: {5, 0x3f, 0x37f}, 4: {4, 0x3f, 0x37f}, 3: {3, 0x3f, 0x17f}, 2: {2, 0x3f, 0x7f},
	} {
		mta := Sendmail().WithVersion(version)
		assert.Equal(t, want, negotiation{mta.Version, uint32(mta.Actions), uint32(mta.Protocol)})
		assert.Equal(t, KindSendmail, mta.Kind)
	}
	mta := Postfix()
	mta.Actions &^= milter.SMFIF_CHGBODY
	assert.Equal(t, milter.Action(0x3d), mta.WithVersion(2).Actions, "what was taken away stays away")
}

func TestUnfiltered(t *testing.T) {
	t.Parallel()
	mail := Mail{From: "a@example.org SIZE=1", To: []string{"b@example.org", "<c@example.org>"},
		Data: "Return-Path: <a@example.org>\nA:1\n\nhello\n"}
	for _, mta := range []MTA{Postfix(), Sendmail()} {
		r, err := mta.Unfiltered(mail)
		require.NoError(t, err)
		assert.Equal(t, &Result{Verdict: milter.SMFIS_ACCEPT, From: "<a@example.org> SIZE=1", Rcpts: []string{"<b@example.org>", "<c@example.org>"},
			Header: Header{{Name: "A", Value: "1", NoSpace: true}}, Body: "hello\r\n"}, r)
	}
	_, err := Postfix().Unfiltered(Mail{Data: "A: \x00\n"})
	assert.ErrorContains(t, err, "header field A holds a NUL")
}

func TestTakeTranscript(t *testing.T) {
	t.Parallel()
	c := Start(t, milter.SMFIF_NONE, milter.Callbacks{}).Connect()
	assert.Len(t, c.TakeTranscript(), 2)
	assert.Empty(t, c.Transcript())
	c.Quit()
	assert.Equal(t, "> SMFIC_QUIT\n", c.TakeTranscript().String())
}
