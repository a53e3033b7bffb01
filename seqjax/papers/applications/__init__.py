"""What the field's texts promise, on real data: no paper, but each application beside a published number."""

from seqjax.papers.applications import images, language, movement, sound
from seqjax.papers.applications.parts import small
from seqjax.papers.row import Paper

ROWS = language.ROWS + sound.ROWS + movement.ROWS + images.ROWS
PAPER = Paper("Applications, each on real data", tuple(map(small, ROWS)))
