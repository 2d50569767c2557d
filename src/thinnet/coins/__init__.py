"""A coin's name and where it comes from: `Coins` binds a model to names, and a site reads them."""

from thinnet.coins.coins import Coins as Coins
from thinnet.coins.draw import Draw as Draw
from thinnet.coins.names import site_number as site_number
from thinnet.coins.site import Site as Site
